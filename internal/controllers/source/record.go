package source

import (
	"context"

	"k8s.io/apimachinery/pkg/api/meta"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/controllers/application"
	"atoll.dev/atoll/internal/source"
)

// record writes what a look led to, and tells what a person would want to see
// later.
func (r *Reconciler) record(ctx context.Context, app *v1alpha1.Application, o outcome) error {
	changed, err := application.RecordFetched(ctx, r.Client, app, &o.fetched, &o.condition)
	if err != nil || !changed {
		return err
	}
	was := meta.FindStatusCondition(app.Status.Conditions, v1alpha1.ConditionFetched)
	if !o.condition.True && (was == nil || was.Reason != o.condition.Reason || was.Message != o.condition.Message) {
		r.Events.Eventf(app, nil, "Warning", o.condition.Reason, "Fetch", "%s", source.Line(o.condition.Message))
	}
	commit := o.fetched.Commit
	if commit == nil || app.Status.Source != nil && app.Status.Source.Commit != nil && app.Status.Source.Commit.ID == commit.ID {
		return nil
	}
	if commit.Replaces != "" {
		reason, words := "HistoryRewritten", "%s led to %s and leads to %s, whose history does not hold it"
		if o.follow.Kind != source.Git {
			reason, words = "VersionReplaced", "%s was %s and is %s now: somebody published the same version anew"
		}
		r.Events.Eventf(app, nil, "Warning", reason, "Fetch", words, shortRef(commit.Ref), source.ShortID(commit.Replaces), source.ShortID(commit.ID))
	}
	r.Events.Eventf(app, nil, "Normal", "Fetched", "Fetch", "%s", source.Line(o.condition.Message))
	return nil
}

// maxWarnings are told of one commit.
const maxWarnings = 10

// warn tells what a render left out.
func (r *Reconciler) warn(app *v1alpha1.Application, o *outcome, warnings []string) {
	for _, w := range warnings[:min(len(warnings), maxWarnings)] {
		r.Events.Eventf(app, nil, "Warning", "LeftOut", "Fetch", "%s", source.Line(o.values.Mask(w)))
	}
}

// clear takes away what was recorded of a source that is not followed any more.
func (r *Reconciler) clear(ctx context.Context, app *v1alpha1.Application) error {
	if app.DeletionTimestamp != nil {
		return nil
	}
	_, err := application.RecordFetched(ctx, r.Client, app, nil, nil)
	return err
}
