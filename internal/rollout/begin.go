package rollout

import (
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"atoll.dev/atoll/api/v1alpha1"
)

// DefaultDeadline is for how long a wave may make no progress.
const DefaultDeadline = 10 * time.Minute

// Request is what a run is made from.
type Request struct {
	Application string
	// Rules are nil when the application has none any more: all clusters are
	// then one wave.
	Rules  *v1alpha1.Rollout
	Target v1alpha1.Version
	// Last is the run before; nil for the first.
	Last *v1alpha1.RolloutRun
	// Ran is what the clusters ran before there were runs.
	Ran      []v1alpha1.VersionGroup
	Clusters []Candidate
	Cause    string
}

// Due tells whether the request asks for a run: for a version that the last
// one does not bring, or that not all clusters ran before there were runs, or
// again for one that was taken back, or that gave way to a run that was never
// recorded.
func Due(r Request) bool {
	if r.Last == nil {
		return r.Rules != nil && len(r.Clusters) > 0 && !ranAll(r)
	}
	again := r.Last.Status.Phase == v1alpha1.RolloutSuperseded ||
		r.Last.Status.Phase == v1alpha1.RolloutRolledBack && r.Last.Spec.Control.Resumed > r.Last.Status.Resumed
	return again || !Same(r.Last.Spec.Plan.Target, r.Target) || len(moved(r)) > 0
}

// ranAll tells that every cluster ran the target before there were runs.
func ranAll(r Request) bool {
	n := 0
	for _, group := range r.Ran {
		for _, name := range group.Clusters {
			if on := On(&r.Target, name); on == nil || !Same(group.Version, *on) {
				return false
			}
			n++
		}
	}
	return n == len(r.Clusters)
}

// Begin is the plan of a run.
func Begin(r Request) (v1alpha1.RolloutPlan, error) {
	rules := v1alpha1.Rollout{Waves: []v1alpha1.Wave{{Share: "100%"}}}
	if r.Rules != nil {
		rules = *r.Rules
	}
	if len(rules.Waves) == 0 {
		rules.Waves = DefaultWaves()
	}
	if some := moved(r); len(some) > 0 {
		r.Clusters, r.Cause = some, r.Cause+movedWhy(some)
	}
	waves, err := Waves(rules.Waves, r.Clusters)
	if err != nil {
		return v1alpha1.RolloutPlan{}, err
	}
	plan := v1alpha1.RolloutPlan{
		Application: r.Application, Number: 1, Target: r.Target, Before: r.Ran, Waves: waves,
		MaxUnavailable: rules.MaxUnavailable, ProgressDeadline: metav1.Duration{Duration: DefaultDeadline},
		OnFailure: v1alpha1.Halt, Cause: r.Cause,
	}
	if rules.ProgressDeadline != nil {
		plan.ProgressDeadline = *rules.ProgressDeadline
	}
	if rules.OnFailure != "" {
		plan.OnFailure = rules.OnFailure
	}
	for _, c := range r.Clusters {
		if !c.Connected {
			plan.Absent = append(plan.Absent, c.Name)
		}
	}
	slices.Sort(plan.Absent)
	if r.Last != nil {
		plan.Number = r.Last.Spec.Plan.Number + 1
		plan.Before = NewCourse(r.Last).ran(r.Clusters)
		plan.Stable = stable(r.Last)
	} else if len(r.Ran) == 1 && r.Ran[0].Version.Content == "" {
		plan.Stable = &r.Ran[0].Version
	}
	return plan, nil
}

// stable is the version that the last run that came through brought.
func stable(last *v1alpha1.RolloutRun) *v1alpha1.Version {
	if last.Status.Phase == v1alpha1.RolloutComplete {
		return &last.Spec.Plan.Target
	}
	return last.Spec.Plan.Stable
}
