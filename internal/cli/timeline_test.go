package cli

import (
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/fleet"
)

func longPast() *past {
	at := func(d time.Duration) metav1.Time { return metav1.NewTime(before(d)) }
	since, ended := at(10*time.Minute), at(20*time.Minute)
	app := application()
	app.Spec.Pins = []v1alpha1.Pin{{Revision: "shop-aaaaaaaaaaaa", Reason: "orders fail", By: "ann", Since: &since}}
	made := func(name string, d time.Duration) metav1.ObjectMeta {
		return metav1.ObjectMeta{Name: name, CreationTimestamp: at(d)}
	}
	run := v1alpha1.RolloutRun{ObjectMeta: made("shop-7", 30*time.Minute)}
	run.Spec.Plan.Cause, run.Spec.Plan.Waves = "revision shop-bbbbbbbbbbbb", []v1alpha1.RolloutWave{{Clusters: []string{"a"}}, {Clusters: []string{"b", "c"}}}
	run.Status.Phase, run.Status.FinishedAt, run.Status.Message = v1alpha1.RolloutRolledBack, &ended, "rolled back: a: a pod crashes"
	return &past{
		app: app, events: events(), clusters: states(), runs: []v1alpha1.RolloutRun{run},
		project: &v1alpha1.Project{Spec: v1alpha1.ProjectSpec{Freeze: &v1alpha1.Freeze{Reason: "audit", By: "bob", Since: &since}}},
		revisions: []v1alpha1.Revision{
			{ObjectMeta: made("shop-bbbbbbbbbbbb", 31*time.Minute), Spec: v1alpha1.RevisionSpec{Objects: 34, Commit: &v1alpha1.Commit{Author: "cleo", Message: "faster carts"}}},
			{ObjectMeta: made("shop-aaaaaaaaaaaa", 72*time.Hour), Spec: v1alpha1.RevisionSpec{Objects: 33, Origin: "deploy/", Author: "dora"}},
		},
	}
}

func TestATimelineIsInTheOrderOfTime(t *testing.T) {
	f := longPast()
	f.events.Events = append(f.events.Events, fleet.Event{At: before(20 * time.Minute), Type: "Warning", Reason: "RolloutRolledBack"})
	all := f.moments(before(24*time.Hour), "")
	if !slices.IsSortedFunc(all, func(a, b moment) int { return a.At.Compare(b.At) }) {
		t.Errorf("%+v", all)
	}
	if older := f.moments(before(100*time.Hour), ""); len(older) != len(all)+1 || older[0].By != "dora" {
		t.Errorf("%d moments in four days, %d in one: %+v", len(older), len(all), older[0])
	}
	for _, m := range f.moments(before(24*time.Hour), "us-east-1") {
		if m.Cluster != "" && m.Cluster != "us-east-1" {
			t.Errorf("another cluster's: %+v", m)
		}
	}
	var b strings.Builder
	if err := writeTimeline(io.Writer(&b), all, view{width: 100, now: now}); err != nil {
		t.Fatal(err)
	}
	golden(t, "timeline", b.String())
}
