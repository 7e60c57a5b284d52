package assign_test

import (
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/assign"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/placement"
	"atoll.dev/atoll/internal/report"
)

// fleet are clusters a…e with the label stage=production, but for those given.
func fleetWithout(relabelled ...string) []v1alpha1.Cluster {
	var out []v1alpha1.Cluster
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		c := v1alpha1.Cluster{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"stage": "production"}}}
		if slices.Contains(relabelled, name) {
			c.Labels["stage"] = "retired"
		}
		c.Spec.Accepted, c.Spec.Profile = true, v1alpha1.ProfileFull
		c.Status.Identity = &v1alpha1.AgentIdentity{KeyFingerprint: name}
		out = append(out, c)
	}
	return out
}

func stateOf(t *testing.T, onDelete v1alpha1.DeletionPolicy, clusters []v1alpha1.Cluster) assign.State {
	t.Helper()
	app := &v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "shop", UID: "1"}}
	app.Spec.OnDelete = onDelete
	app.Status.Clusters = []string{"a", "b", "c", "d", "e"}
	rule, err := placement.Compile(v1alpha1.PlacementRule{Clusters: "stage=production"})
	if err != nil {
		t.Fatal(err)
	}
	return assign.State{
		App: app, Project: &v1alpha1.Project{ObjectMeta: metav1.ObjectMeta{Name: "demo"}}, Rule: rule, Clusters: clusters,
		Content:  desired.Sum([]byte("content")),
		Check:    func(desired.Entry) []report.Problem { return nil },
		Released: func(string, desired.Entry) bool { return false },
	}
}

func TestOneClusterMayLeaveAndDelete(t *testing.T) {
	p := assign.Make(stateOf(t, v1alpha1.Delete, fleetWithout("b")))
	if e := p.Entries["b"]; !e.Withdrawn || !slices.Equal(p.Withdrawing, []string{"b"}) || slices.Contains(p.Clusters, "b") {
		t.Errorf("b is %+v, withdrawing %v, recorded %v", e, p.Withdrawing, p.Clusters)
	}
}

func TestManyClustersThatWouldDeleteAtOnceAreHeld(t *testing.T) {
	s := stateOf(t, v1alpha1.Delete, fleetWithout("b", "c", "d"))
	p := assign.Make(s)
	for _, c := range []string{"b", "c", "d"} {
		if e := p.Entries[c]; !e.Hold || e.Withdrawn || !slices.Contains(p.Clusters, c) {
			t.Errorf("%s is not held: %+v, recorded %v", c, e, p.Clusters)
		}
	}
	if p.Placed.True || p.Placed.Reason != "DeletionHeld" || len(p.Withdrawing) != 0 {
		t.Errorf("placed is %+v, withdrawing %v", p.Placed, p.Withdrawing)
	}

	held := assign.HeldLeaving(s.App, p.Decision.Chosen, func(string) bool { return true })
	s.App.Annotations = map[string]string{v1alpha1.AnnotationAllowDeletion: "other," + held.Digest}
	p = assign.Make(s)
	if !slices.Equal(p.Withdrawing, []string{"b", "c", "d"}) || !p.Placed.True {
		t.Errorf("allowed by name, yet withdrawing %v, placed %+v", p.Withdrawing, p.Placed)
	}
}

func TestALostPlacementHoldsEveryClusterThatWouldDelete(t *testing.T) {
	s := stateOf(t, v1alpha1.Delete, fleetWithout())
	s.Rule = nil
	if p := assign.Make(s); len(p.Clusters) != 5 || len(p.Withdrawing) != 0 {
		t.Errorf("recorded %v, withdrawing %v", p.Clusters, p.Withdrawing)
	}
}

func TestClustersThatOnlyOrphanLeaveAtOnce(t *testing.T) {
	p := assign.Make(stateOf(t, v1alpha1.Orphan, fleetWithout("b", "c", "d")))
	if !slices.Equal(p.Clusters, []string{"a", "e"}) || len(p.Entries) != 2 {
		t.Errorf("recorded %v with entries %v", p.Clusters, p.Entries)
	}
}
