package hub

import (
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/admission"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/apiserver"
)

func TestADeletionWaitsUntilWhatItDeletesIsGuarded(t *testing.T) {
	for name, tt := range map[string]struct {
		app   v1alpha1.Application
		waits bool
	}{
		"told to delete just now": {placedApp(v1alpha1.Delete), true},
		"guarded":                 {guardedApp(placedApp(v1alpha1.Delete)), false},
		"orphans":                 {placedApp(v1alpha1.Orphan), false},
		"was never placed":        {v1alpha1.Application{Spec: v1alpha1.ApplicationSpec{OnDelete: v1alpha1.Delete}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&tt.app)
			if err != nil {
				t.Fatal(err)
			}
			err = unguarded(apiserver.Write{
				Kind: v1alpha1.GroupVersion.WithKind("Application"), Operation: admission.Delete, Old: &unstructured.Unstructured{Object: object},
			})
			if seconds, waits := apierrors.SuggestsClientDelay(err); waits != tt.waits || waits && seconds != 1 {
				t.Errorf("the answer is %v", err)
			}
		})
	}
}

func placedApp(onDelete v1alpha1.DeletionPolicy) v1alpha1.Application {
	app := v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "shop"}, Spec: v1alpha1.ApplicationSpec{OnDelete: onDelete}}
	app.Status.Clusters = []string{"eu-1"}
	return app
}

func guardedApp(app v1alpha1.Application) v1alpha1.Application {
	app.Finalizers = []string{v1alpha1.FinalizerWithdraw}
	return app
}
