package application

import (
	"context"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/assign"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/rollout"
)

// frozen is the freeze that is in force over an application.
func (r *Intent) frozen(ctx context.Context, app *v1alpha1.Application, project *v1alpha1.Project) (*rollout.Frozen, error) {
	hub, err := r.Freeze(ctx)
	if err != nil {
		return nil, err
	}
	return rollout.FrozenBy(hub, project, app, r.Now()), nil
}

// keep puts what the clusters were told last in the place of what was decided.
// After a start of the hub that is not known: they are asked to keep what they
// have.
func (r *Intent) keep(app *v1alpha1.Application, s assign.State, c *course) {
	key, entries := desired.Key{Project: app.Namespace, Application: app.Name}, map[string]desired.Entry{}
	unknown, exist := false, make(map[string]bool, len(s.Clusters))
	for i := range s.Clusters {
		exist[s.Clusters[i].Name] = true
	}
	for _, name := range slices.Concat(s.App.Status.Clusters, s.App.Status.Withdrawing) {
		if s.Project != nil && !exist[name] { // without it, the clusters were not read
			continue
		}
		e, _, ok := r.Book.Get(name, key)
		if !ok || e.UID != string(app.UID) {
			e = desired.Hold(app)
		}
		entries[name], unknown = e, unknown || e.Hold
	}
	c.waits = differ(c.plan.Entries, entries) || app.DeletionTimestamp != nil || c.run != nil && !c.run.Status.Phase.Final() ||
		s.Content != "" && app.Status.Revision != desired.RevisionName(app.Name, s.Content) ||
		unknown && waited(app)
	if !slices.Equal(c.plan.Clusters, app.Status.Clusters) {
		c.plan.Placed = assign.Condition{True: len(app.Status.Clusters) > 0, Reason: v1alpha1.ConditionFrozen, Message: "the clusters stay those that they are: " + c.frozen.Why()}
	}
	c.plan.Entries, c.plan.Keep, c.plan.Done = entries, true, false
}

// differ tells that clusters would be told something else. That an application
// was edited alone tells them nothing, and of whom it is not known what they were
// told, it is not known what would differ.
func differ(decided, told map[string]desired.Entry) bool {
	for name := range told {
		if _, ok := decided[name]; !ok {
			return true
		}
	}
	for name, e := range decided {
		was, ok := told[name]
		if ok && e.Hold {
			continue // it is refused for the cluster, whoever thaws what
		}
		e.Generation = was.Generation
		if !ok || !was.Hold && e.Digest() != was.Digest() {
			return true
		}
	}
	return false
}

// waited tells that a change waited for the thaw when the hub ended, or came
// since.
func waited(app *v1alpha1.Application) bool {
	c := meta.FindStatusCondition(app.Status.Conditions, v1alpha1.ConditionRolledOut)
	return c != nil && c.Reason == v1alpha1.ConditionFrozen || entered(app) != app.Generation
}
