package validate_test

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/placement"
	"atoll.dev/atoll/internal/validate"
)

func TestTheHubStandsAlone(t *testing.T) {
	count := int32(1)
	hub := func(change func(*v1alpha1.Application)) *v1alpha1.Application {
		app := &v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "apps"}}
		app.Spec.Source.Inline = "{apiVersion: atoll.dev/v1alpha1, kind: Application, metadata: {name: web}}"
		app.Spec.Placement = &v1alpha1.ApplicationPlacement{PlacementRule: v1alpha1.PlacementRule{Hub: true}}
		change(app)
		return app
	}
	on := func(cluster string) *v1alpha1.Application {
		return hub(func(a *v1alpha1.Application) { a.Status.Clusters = []string{cluster} })
	}
	for name, tt := range map[string]struct {
		old    *v1alpha1.Application
		change func(*v1alpha1.Application)
		field  string // at fault; "" for none
	}{
		"alone":                {nil, func(*v1alpha1.Application) {}, ""},
		"with names":           {nil, func(a *v1alpha1.Application) { a.Spec.Placement.Names = []string{"eu-1"} }, "spec.placement.names"},
		"with labels":          {nil, func(a *v1alpha1.Application) { a.Spec.Placement.Clusters = "a=b" }, "spec.placement.clusters"},
		"with a condition":     {nil, func(a *v1alpha1.Application) { a.Spec.Placement.Where = "true" }, "spec.placement.where"},
		"with a count":         {nil, func(a *v1alpha1.Application) { a.Spec.Placement.Count = &count }, "spec.placement.count"},
		"with a named rule":    {nil, func(a *v1alpha1.Application) { a.Spec.Placement.Ref = "eu" }, "spec.placement.ref"},
		"with a namespace":     {nil, func(a *v1alpha1.Application) { a.Spec.Namespace = "shop-eu" }, "spec.namespace"},
		"in waves":             {nil, func(a *v1alpha1.Application) { a.Spec.Rollout = &v1alpha1.Rollout{} }, "spec.rollout"},
		"bound late":           {nil, func(a *v1alpha1.Application) { a.Spec.LateBinding = true }, "spec.lateBinding"},
		"as before":            {on(placement.Hub), func(*v1alpha1.Application) {}, ""},
		"from a cluster":       {on("eu-1"), func(*v1alpha1.Application) {}, "spec.placement.hub"},
		"to clusters":          {on(placement.Hub), func(a *v1alpha1.Application) { a.Spec.Placement.Hub, a.Spec.Placement.Where = false, "true" }, "spec.placement.hub"},
		"to nowhere, for once": {on(placement.Hub), func(a *v1alpha1.Application) { a.Spec.Placement = nil }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			errs := validate.Application(hub(tt.change), tt.old)
			fields := ""
			for _, err := range errs {
				fields += err.Field + " "
			}
			if tt.field == "" && len(errs) > 0 || !strings.Contains(fields, tt.field) {
				t.Errorf("refused: %v", errs)
			}
		})
	}
	named := &v1alpha1.Placement{ObjectMeta: metav1.ObjectMeta{Name: "hub"}, Spec: v1alpha1.PlacementRule{Hub: true}}
	if errs := validate.Placement(named, nil); !strings.Contains(errs.ToAggregate().Error(), "spec.hub") {
		t.Errorf("a Placement of the hub: %v", errs)
	}
}
