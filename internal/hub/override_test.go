package hub

import (
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/content"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/override"
	"atoll.dev/atoll/internal/report"
)

func onLarge(patch string) []v1alpha1.Override {
	return []v1alpha1.Override{{Clusters: "size=large", Patches: []v1alpha1.ObjectPatch{{Target: v1alpha1.PatchTarget{Kind: "ConfigMap", Name: "x"}, Patch: patch}}}}
}

// made is what the pure function makes of a source, with and without overrides.
func made(t *testing.T, source string, overrides []v1alpha1.Override) (plain, over desired.Digest) {
	t.Helper()
	parsed, err := content.Parse([]content.File{{Data: fmt.Appendf(nil, manifest, source)}}, content.Options{})
	if err != nil {
		t.Fatal(err)
	}
	laid, err := override.Apply(parsed.Bundle, overrides, []int32{0})
	if err != nil {
		t.Fatal(err)
	}
	return parsed.Bundle.Digest(), laid.Digest()
}

// size labels a member's cluster; empty takes the label away.
func (s *trio) size(i int, size string) {
	s.Helper()
	c := s.cluster(s.members[i].name)
	patch := client.MergeFrom(c.DeepCopy())
	if delete(c.Labels, "size"); size != "" {
		c.Labels["size"] = size
	}
	s.must(s.client.Patch(s.Context(), c, patch))
}

// gets waits until each cluster is asked for a content, and has them all answer
// that they are well.
func (s *trio) gets(contents ...desired.Digest) {
	s.Helper()
	for i, want := range contents {
		s.members[i].until(fmt.Sprintf("content %s", want.Short()), func(r desired.Root) bool { e, _ := r.Get(s.key); return e.Content == want })
		s.members[i].reports(s.key, report.InSync, report.HealthHealthy)
	}
}

func TestOverridesGiveEachClassOfClustersItsOwnContent(t *testing.T) {
	s := newTrio(hubOf(t), "varied", nil)
	s.size(1, "large")
	overrides := onLarge("data: {more: large}")
	plain, large := made(t, "shop", overrides)
	s.edit(func(app *v1alpha1.Application) { app.Spec.Overrides = overrides })
	s.gets(plain, large, plain)
	first := s.asked(1)
	for i := range s.members {
		s.runs(i, first, report.HealthHealthy)
	}
	s.eventually("the record", func() error {
		app, revision := s.app("varied", "shop"), &v1alpha1.Revision{}
		want := []v1alpha1.Variant{
			{Content: string(plain), Under: string(plain), Clusters: 2}, {Content: string(large), Under: string(plain), Overrides: []int32{0}, Clusters: 1},
		}
		if fmt.Sprint(app.Status.Variants) != fmt.Sprint(want) || app.Status.Revision != first {
			return fmt.Errorf("revision %s, variants %v, not %v", app.Status.Revision, app.Status.Variants, want)
		}
		if err := s.client.Get(t.Context(), client.ObjectKey{Namespace: "varied", Name: first}, revision); err != nil {
			return err
		}
		if revision.Spec.Content != string(plain) || len(revision.Spec.Overrides) != 1 {
			return fmt.Errorf("the Revision is %+v", revision.Spec)
		}
		return nil
	})
	chain, err := s.fleet.Explain(t.Context(), "varied", "shop", "varied-2")
	s.must(err)
	if why := chain.Clusters[0].Links[0].Why; !strings.Contains(why, "with override 0 (size=large)") {
		t.Errorf("it is explained by %q", why)
	}

	// One that gets the label gets what the other has; what matches nothing is
	// refused by name, and all keep what they have.
	s.size(2, "large")
	s.gets(plain, large, large)
	s.edit(func(app *v1alpha1.Application) {
		app.Spec.Overrides = append(onLarge("data: {more: larger}"), v1alpha1.Override{Clusters: "size", Replicas: []v1alpha1.ReplicaOverride{{Name: "web", Count: 3}}})
	})
	s.eventually("it is refused", func() error {
		app := s.app("varied", "shop")
		c := meta.FindStatusCondition(app.Status.Conditions, v1alpha1.ConditionAccepted)
		if c.ObservedGeneration != app.Generation || c.Reason != "OverrideRefused" || !strings.Contains(c.Message, "spec.overrides[1].replicas[0].name: no Deployment") {
			return fmt.Errorf("%+v", c)
		}
		return nil
	})
	s.gets(plain, large, large)

	// A change travels, to each its own; a label is a change of its own.
	one := int32(1)
	s.edit(func(app *v1alpha1.Application) {
		app.Spec.Overrides, app.Spec.Rollout = overrides, &v1alpha1.Rollout{Waves: []v1alpha1.Wave{{Count: &one}}}
	})
	second := s.release("second")
	plain2, large2 := made(t, "second", overrides)
	s.gets(plain2, large2, large2)
	s.run("shop-1", v1alpha1.RolloutComplete)
	s.size(1, "")
	s.gets(plain2, plain2, large2)
	run := s.run("shop-2", v1alpha1.RolloutComplete)
	if !strings.Contains(run.Spec.Plan.Cause, "varied-2") || run.Status.Clusters != 1 {
		t.Errorf("the label's run is because of %q, on %d clusters", run.Spec.Plan.Cause, run.Status.Clusters)
	}

	// A pin brings back what the revision is on each cluster by its label now.
	s.edit(func(app *v1alpha1.Application) {
		app.Spec.Rollout, app.Spec.Pins = nil, []v1alpha1.Pin{{Revision: first, Reason: "orders fail"}}
	})
	s.gets(plain, plain, large)
	s.edit(func(app *v1alpha1.Application) {
		app.Spec.Pins = []v1alpha1.Pin{{Revision: first, Clusters: []string{"varied-3"}, Reason: "orders fail"}}
	})
	s.gets(plain2, plain2, large)
	if got := s.asked(2); got != first || s.asked(0) != second {
		t.Errorf("the pinned cluster is asked for %s, the first for %s", got, s.asked(0))
	}
}
