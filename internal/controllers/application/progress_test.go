package application

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/observed"
)

func TestProgressIsToldNowAndThenAndItsEndAtOnce(t *testing.T) {
	name, start := types.NamespacedName{Namespace: "demo", Name: "web"}, time.Unix(10_000, 0)
	var p progress
	for _, step := range []struct {
		what     string
		after    time.Duration
		underWay bool
		waits    time.Duration
	}{
		{"it begins", 0, false, 0},
		{"one cluster more", time.Second, true, 4 * time.Second},
		{"some more", 5 * time.Second, true, 0},
		{"and more", 6 * time.Second, true, 4 * time.Second},
		{"it is over", 7 * time.Second, false, 0},
	} {
		if got := p.hold(name, step.underWay, start.Add(step.after)); got != step.waits {
			t.Errorf("%s: waits %s, want %s", step.what, got, step.waits)
		}
	}
	if p.over(name); len(p.last) != 0 {
		t.Error("one that is gone is remembered")
	}
}

func TestOnlyThatMoreClustersTookAChangeUpIsMereProgress(t *testing.T) {
	count := func(c v1alpha1.Counts) observed.Summary {
		c.Placed = 10
		return observed.Summary{Counts: c, Exceptions: []v1alpha1.Exception{{Cluster: "a", Sync: "Progressing", Health: "Progressing"}}}
	}
	r := &Status{}
	app := application(2, time.Unix(10_000, 0))
	first := r.next(app, count(v1alpha1.Counts{InSync: 2, Healthy: 1, Progressing: 8, HealthProgressing: 9}))
	app.Status.Counts, app.Status.ObservedGeneration = first.Counts, first.ObservedGeneration
	app.Status.Conditions = append(app.Status.Conditions, first.Conditions...)
	for name, c := range map[string]struct {
		next observed.Summary
		want bool
	}{
		"further":               {count(v1alpha1.Counts{InSync: 7, Healthy: 7, Progressing: 3, HealthProgressing: 3}), true},
		"in sync everywhere":    {count(v1alpha1.Counts{InSync: 10, Healthy: 9, HealthProgressing: 1}), false},
		"well everywhere":       {count(v1alpha1.Counts{InSync: 10, Healthy: 10}), false},
		"failed on one":         {count(v1alpha1.Counts{InSync: 7, Healthy: 7, Progressing: 2, Failed: 1, HealthProgressing: 3}), false},
		"held on one":           {count(v1alpha1.Counts{InSync: 7, Healthy: 7, Progressing: 2, Held: 1, HealthProgressing: 3}), false},
		"broken on one":         {count(v1alpha1.Counts{InSync: 7, Healthy: 7, Progressing: 3, Degraded: 1, HealthProgressing: 2}), false},
		"all that can has it":   {count(v1alpha1.Counts{InSync: 9, Failed: 1, Healthy: 9, Degraded: 1}), false},
		"two clusters are away": {count(v1alpha1.Counts{InSync: 6, Healthy: 5, Progressing: 4, HealthProgressing: 3, Unknown: 2}), true},
	} {
		if got := r.next(app, c.next).underWay(app); got != c.want {
			t.Errorf("%s: mere progress is %v", name, got)
		}
	}
	edited := app.DeepCopy()
	edited.Status.Conditions = withCondition(edited.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionAccepted, Status: metav1.ConditionTrue, ObservedGeneration: 3})
	if r.next(edited, count(v1alpha1.Counts{InSync: 1, Progressing: 9, HealthProgressing: 9})).underWay(edited) {
		t.Error("another generation is told late")
	}
}
