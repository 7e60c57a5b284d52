package hub

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/fleet"
	"atoll.dev/atoll/internal/plan"
	"atoll.dev/atoll/internal/report"
)

// stored is every object that a plan could touch with its version, and every
// file of content.
func (s *trio) stored() map[string]string {
	s.Helper()
	found := map[string]string{}
	for _, list := range []client.ObjectList{
		&v1alpha1.ApplicationList{}, &v1alpha1.RevisionList{}, &v1alpha1.RolloutRunList{}, &corev1.ConfigMapList{}, &corev1.EventList{},
	} {
		s.must(s.client.List(s.Context(), list, client.InNamespace(s.project)))
		s.versions(list, found)
	}
	for _, list := range []client.ObjectList{&v1alpha1.ProjectList{}, &v1alpha1.PlacementList{}, &corev1.NamespaceList{}} {
		s.must(s.client.List(s.Context(), list))
		s.versions(list, found)
	}
	values := &corev1.SecretList{}
	s.must(s.client.List(s.Context(), values, client.MatchingLabels{"atoll.dev/project": s.project}))
	s.versions(values, found)
	s.must(filepath.WalkDir(filepath.Join(filepath.Dir(s.ready.AdminKubeconfig), "content", s.project), func(path string, _ fs.DirEntry, err error) error {
		found[path] = "a file"
		return err
	}))
	return found
}

func (s *trio) versions(list client.ObjectList, found map[string]string) {
	s.Helper()
	s.must(meta.EachListItem(list, func(item runtime.Object) error {
		o := item.(client.Object)
		found[fmt.Sprintf("%T %s/%s", o, o.GetNamespace(), o.GetName())] = o.GetResourceVersion()
		return nil
	}))
}

// planned is a plan that nothing was written for. What the hub writes by itself
// at the same moment has it tried again.
func (s *trio) planned(r fleet.PlanRequest) plan.Plan {
	s.Helper()
	var p plan.Plan
	s.eventually("a plan for which nothing is written", func() error {
		before := s.stored()
		answer, err := s.fleet.Plan(s.Context(), s.project, r)
		s.must(err)
		if len(answer.Plans) != 1 {
			return fmt.Errorf("%d plans", len(answer.Plans))
		}
		p = answer.Plans[0]
		if after := s.stored(); !maps.Equal(before, after) {
			return fmt.Errorf("stored before %v, and after %v", before, after)
		}
		return nil
	})
	return p
}

func TestAPlanIsWhatThenHappensAndNothingIsWrittenForIt(t *testing.T) {
	one := int32(1)
	s := newTrio(hubOf(t), "planned", &v1alpha1.Rollout{Waves: []v1alpha1.Wave{{Count: &one}, {Share: "100%"}}})
	first := s.asked(0)

	if p := s.planned(fleet.PlanRequest{Names: []string{"shop"}}); !p.Empty() || p.Unchanged != 3 {
		t.Errorf("of an application that is everywhere as it should be: %+v", p)
	}
	next := s.app("planned", "shop")
	next.Spec.Source.Inline = fmt.Sprintf(manifest, "next")
	next.Generation++
	p := s.planned(fleet.PlanRequest{Applications: []v1alpha1.Application{*next}})
	if len(p.Classes) != 1 || len(p.Classes[0].Clusters) != 3 || p.Classes[0].Changed != 1 || p.Classes[0].From != first {
		t.Fatalf("the plan is %+v", p)
	}
	if f := p.Classes[0].Objects[0].Fields; len(f) != 1 || f[0].Path != "data.a" || f[0].Old != "shop" || f[0].New != "next" {
		t.Errorf("the fields are %+v", f)
	}
	if p.Rollout == nil || len(p.Rollout.Waves) != 2 || !slices.Equal(p.Rollout.Waves[1].Clusters, []string{"planned-2", "planned-3"}) || p.Rollout.Phase != "" {
		t.Errorf("the waves are %+v", p.Rollout)
	}

	upload := &fleet.Upload{Files: []fleet.File{{Name: "x.yaml", Data: []byte("{apiVersion: v1, kind: Secret, metadata: {name: db}, stringData: {p: swordfish}}")}}}
	uploaded := s.planned(fleet.PlanRequest{Applications: []v1alpha1.Application{*next}, Upload: upload})
	if c := uploaded.Classes; len(c) != 1 || c[0].Deleted != 1 || c[0].Created != 1 {
		t.Errorf("with an upload in the place of its source: %+v", uploaded)
	}

	moved := s.cluster("planned-3")
	moved.Labels = map[string]string{"test": "elsewhere"}
	if p := s.planned(fleet.PlanRequest{Clusters: []v1alpha1.Cluster{*moved}}); !slices.Equal(p.Lost, []string{"planned-3"}) || p.Unchanged != 2 {
		t.Errorf("of a cluster that loses its label: %+v", p)
	}
	foreign := next.DeepCopy()
	foreign.Spec.Source.Inline = "{apiVersion: v1, kind: ConfigMap, metadata: {name: x, namespace: kube-system}}"
	if p := s.planned(fleet.PlanRequest{Applications: []v1alpha1.Application{*foreign}}); len(p.Refusals) != 1 || p.Refusals[0].Object.Name != "x" || len(p.Refusals[0].Clusters) != 3 {
		t.Errorf("of what the project may not deliver: %+v", p)
	}

	// Now it is done, and what was planned is what the clusters are asked for.
	if revision := s.release("next"); revision != p.Classes[0].To {
		t.Errorf("%s was planned, and %s comes", p.Classes[0].To, revision)
	}
	for i := range s.members {
		s.runs(i, p.Classes[0].To, report.HealthHealthy)
	}
	run := s.run("shop-1", v1alpha1.RolloutComplete)
	for i, w := range run.Spec.Plan.Waves {
		if !slices.Equal(w.Clusters, p.Rollout.Waves[i].Clusters) {
			t.Errorf("wave %d is %v, and was planned as %v", i+1, w.Clusters, p.Rollout.Waves[i].Clusters)
		}
	}
	if p := s.planned(fleet.PlanRequest{Names: []string{"shop"}}); !p.Empty() {
		t.Errorf("once it is done: %+v", p)
	}
}

func TestAPlanTakesTheRightToDoWhatIsPlanned(t *testing.T) {
	b := hubOf(t)
	b.project("rights")
	b.deploy("rights", "shop", "test=nowhere", v1alpha1.Orphan)
	config := rest.CopyConfig(b.config)
	config.Impersonate = rest.ImpersonationConfig{UserName: "polly"}
	polly, err := fleet.NewClient(config)
	b.must(err)
	app := b.app("rights", "shop")
	change := fleet.PlanRequest{Applications: []v1alpha1.Application{*app}}
	ask := func(r fleet.PlanRequest) error { _, err := polly.Plan(t.Context(), "rights", r); return err }
	grant := func(name string, rules ...rbacv1.PolicyRule) {
		b.create(&rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: "rights", Name: name}, Rules: rules})
		b.create(&rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: "rights", Name: name},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: "polly"}},
		})
	}
	if err := ask(change); !apierrors.IsForbidden(err) {
		t.Fatalf("a stranger plans: %v", err)
	}
	grant("plans", rbacv1.PolicyRule{APIGroups: []string{"fleet.atoll.dev"}, Resources: []string{"plans"}, Verbs: []string{"create"}})
	b.eventually("the right to ask is not the right to do", func() error {
		if err := ask(change); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "right to do it") {
			return fmt.Errorf("it says %w", errors.Join(err, errors.New("and should be forbidden")))
		}
		return nil
	})
	grant("writes", rbacv1.PolicyRule{APIGroups: []string{"atoll.dev"}, Resources: []string{"applications"}, Verbs: []string{"patch"}})
	b.eventually("who may change it may plan it", func() error { return ask(change) })

	cluster := fleet.PlanRequest{Clusters: []v1alpha1.Cluster{{ObjectMeta: metav1.ObjectMeta{Name: "made-up"}}}}
	if err := ask(cluster); !apierrors.IsForbidden(err) {
		t.Errorf("who may not make clusters plans with one: %v", err)
	}
	if _, err := polly.Plan(t.Context(), "waves", fleet.PlanRequest{Names: []string{"shop"}}); !apierrors.IsForbidden(err) {
		t.Errorf("the plan of another project: %v", err)
	}
	foreign := app.DeepCopy()
	foreign.Namespace = "waves"
	if err := ask(fleet.PlanRequest{Applications: []v1alpha1.Application{*foreign}}); !apierrors.IsBadRequest(err) {
		t.Errorf("an application of another project: %v", err)
	}
}
