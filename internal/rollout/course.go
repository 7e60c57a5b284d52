package rollout

import (
	"maps"
	"slices"

	"atoll.dev/atoll/api/v1alpha1"
)

// VersionOf is what the application asks for, with that content and in that
// namespace of its members.
func VersionOf(app *v1alpha1.Application, namespace, digest string) v1alpha1.Version {
	v := v1alpha1.Version{Digest: digest, Namespace: namespace, LateBinding: app.Spec.LateBinding}
	if app.Spec.LateBinding && len(app.Spec.Variables) > 0 {
		v.Variables = app.Spec.Variables
	}
	return v
}

// With is the application as it was when it asked for a version. The
// application given is not altered.
func With(app *v1alpha1.Application, v v1alpha1.Version) *v1alpha1.Application {
	then := *app
	then.Spec.Namespace, then.Spec.LateBinding, then.Spec.Variables = v.Namespace, v.LateBinding, v.Variables
	return &then
}

// Same compares versions, each as a whole or as one cluster runs it.
func Same(a, b v1alpha1.Version) bool {
	return ContentOf(a) == ContentOf(b) && a.Namespace == b.Namespace && a.LateBinding == b.LateBinding && maps.Equal(a.Variables, b.Variables)
}

// Course is a run as each cluster sees it.
type Course struct {
	run    *v1alpha1.RolloutRun
	turn   map[string]int32
	before map[string]*v1alpha1.Version
}

// NewCourse reads a run.
func NewCourse(run *v1alpha1.RolloutRun) *Course {
	c := &Course{run: run, turn: map[string]int32{}, before: map[string]*v1alpha1.Version{}}
	for _, wave := range run.Spec.Plan.Waves {
		for _, name := range wave.Clusters {
			c.turn[name] = int32(len(c.turn))
		}
	}
	for i := range run.Spec.Plan.Before {
		group := &run.Spec.Plan.Before[i]
		for _, name := range group.Clusters {
			c.before[name] = &group.Version
		}
	}
	return c
}

// Version is what a cluster is to run; nil means that it keeps what it has,
// and that one that has nothing gets nothing yet.
func (c *Course) Version(cluster string) *v1alpha1.Version { return On(c.version(cluster), cluster) }

func (c *Course) version(cluster string) *v1alpha1.Version {
	plan, status := &c.run.Spec.Plan, &c.run.Status
	turn, member := c.turn[cluster]
	before := c.before[cluster]
	if before == nil {
		before = plan.Stable
	}
	switch {
	case status.Phase == v1alpha1.RolloutComplete:
		return &plan.Target
	case !member:
		return before
	case turn >= status.Started:
		return before
	case back(status.Phase) && before != nil:
		return before
	}
	// What had nothing before cannot go back: to take away what runs is not
	// what a rollback was asked for.
	return &plan.Target
}

// Waiting tells that a cluster's turn is yet to come.
func (c *Course) Waiting(cluster string) bool {
	turn, member := c.turn[cluster]
	return c.run.Status.Phase != v1alpha1.RolloutComplete && (!member || turn >= c.run.Status.Started)
}

func back(phase v1alpha1.RolloutPhase) bool {
	return phase == v1alpha1.RolloutRollingBack || phase == v1alpha1.RolloutRolledBack
}

// ran groups clusters by what they run under a course, in the order in which
// the versions first occur among the sorted names.
func (c *Course) ran(clusters []Candidate) []v1alpha1.VersionGroup {
	var groups []v1alpha1.VersionGroup
	all := names(clusters)
	slices.Sort(all)
	for _, name := range all {
		if v := c.Version(name); v != nil {
			groups = Group(groups, *v, name)
		}
	}
	return groups
}

// Group adds a cluster to the group of its version.
func Group(groups []v1alpha1.VersionGroup, v v1alpha1.Version, cluster string) []v1alpha1.VersionGroup {
	i := slices.IndexFunc(groups, func(g v1alpha1.VersionGroup) bool { return Same(g.Version, v) })
	if i < 0 {
		i, groups = len(groups), append(groups, v1alpha1.VersionGroup{Version: v})
	}
	groups[i].Clusters = append(groups[i].Clusters, cluster)
	return groups
}

// Versions are all that a plan brings or goes back to.
func Versions(plan *v1alpha1.RolloutPlan) []v1alpha1.Version {
	all := []v1alpha1.Version{plan.Target}
	if plan.Stable != nil {
		all = append(all, *plan.Stable)
	}
	for _, group := range plan.Before {
		all = append(all, group.Version)
	}
	return all
}
