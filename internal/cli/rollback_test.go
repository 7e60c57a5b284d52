package cli

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/desired"
)

func TestARollbackSkipsWhatHadToBeTakenBack(t *testing.T) {
	digest := func(name string) string { return string(desired.Sum([]byte(name))) }
	revision := func(name string) string { return desired.RevisionName("shop", desired.Digest(digest(name))) }
	app := &v1alpha1.Application{}
	app.Name, app.Status.Revision = "shop", revision("new")
	var revisions []v1alpha1.Revision
	for _, name := range []string{"refused", "new", "bad", "good", "old"} {
		r := v1alpha1.Revision{}
		r.Name = revision(name)
		revisions = append(revisions, r)
	}
	run := func(name string, phase v1alpha1.RolloutPhase) v1alpha1.RolloutRun {
		r := v1alpha1.RolloutRun{}
		r.Spec.Plan.Target.Digest, r.Status.Phase = digest(name), phase
		return r
	}
	runs := []v1alpha1.RolloutRun{run("new", v1alpha1.RolloutComplete), run("bad", v1alpha1.RolloutRolledBack), run("good", v1alpha1.RolloutComplete)}
	if got, err := choose(app, revisions, runs, ""); err != nil || got != revision("good") {
		t.Errorf("it goes back to %s, %v", got, err)
	}
	if got, err := choose(app, revisions, runs, revision("bad")); err != nil || got != revision("bad") {
		t.Errorf("what is named is not taken: %s, %v", got, err)
	}
	if _, err := choose(app, revisions, runs, "shop-1"); err == nil || !strings.Contains(err.Error(), "atoll history app/shop") {
		t.Errorf("a revision that is none: %v", err)
	}
	app.Status.Revision = revision("old")
	if got, err := choose(app, revisions, runs, ""); err == nil {
		t.Errorf("from the oldest it goes to %s", got)
	}
}

func TestUnpinningLeavesThePinsOfOthers(t *testing.T) {
	pins := []v1alpha1.Pin{{Revision: "all"}, {Revision: "some", Clusters: []string{"a", "b"}}, {Revision: "one", Clusters: []string{"a"}}}
	if diff := cmp.Diff(pins[1:], unpinned(pins, nil)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]v1alpha1.Pin{{Revision: "all"}, {Revision: "some", Clusters: []string{"b"}}}, unpinned(pins, []string{"a"})); diff != "" {
		t.Error(diff)
	}
	if len(pins[1].Clusters) != 2 {
		t.Error("the list that was read has changed")
	}
}
