package application

import (
	"context"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/assign"
	"atoll.dev/atoll/internal/depot"
	"atoll.dev/atoll/internal/desired"
)

// record makes durable what clusters may have been told of already, and then
// writes what names it.
func (r *Intent) record(ctx context.Context, app *v1alpha1.Application, c course) error {
	name := client.ObjectKeyFromObject(app)
	r.beside.settled(name)
	app = r.beside.ahead(app)
	if err := r.Depot.Settle(ctx, app); err != nil {
		return err
	}
	if err := r.write(ctx, app, c); err != nil {
		return err
	}
	r.beside.mended(name)
	return nil
}

// write writes the Revision and the intent half of the status, on change only.
func (r *Intent) write(ctx context.Context, app *v1alpha1.Application, c course) error {
	plan, admitted := c.plan, c.admitted
	if plan.Done {
		return nil
	}
	next := statusOf(app)
	if admitted.Digest != "" && plan.Accepted.True && !c.early && c.frozen == nil {
		if err := r.recordRevision(ctx, app, admitted); err != nil {
			return err
		}
		next.Revision, next.Variants = desired.RevisionName(app.Name, admitted.Digest), plan.Variants
	}
	if !plan.Keep {
		next.Clusters, next.Withdrawing = plan.Clusters, plan.Withdrawing
	}
	next.set(app, v1alpha1.ConditionAccepted, plan.Accepted)
	next.set(app, v1alpha1.ConditionPlaced, plan.Placed)
	if c.run != nil {
		next.Rollout = c.run.Name
	}
	if c.run != nil || c.early || c.waits {
		next.set(app, v1alpha1.ConditionRolledOut, c.told())
	} else {
		meta.RemoveStatusCondition(&next.Conditions, v1alpha1.ConditionRolledOut) // of a change that was undone in time
	}
	if c.frozen != nil {
		next.set(app, v1alpha1.ConditionFrozen, assign.Condition{True: true, Reason: v1alpha1.ConditionFrozen, Message: c.frozen.Why()})
	} else {
		meta.RemoveStatusCondition(&next.Conditions, v1alpha1.ConditionFrozen)
	}
	if next.equal(statusOf(app)) {
		return nil
	}
	r.tell(app, plan, next)
	return next.apply(ctx, r.Client, app)
}

func (r *Intent) recordRevision(ctx context.Context, app *v1alpha1.Application, c depot.Content) error {
	if app.Status.Revision == desired.RevisionName(app.Name, c.Digest) {
		return nil
	}
	revision := c.Revision(app)
	if r.Client.Get(ctx, client.ObjectKeyFromObject(revision), &v1alpha1.Revision{}) == nil {
		return nil
	}
	if err := r.Client.Create(ctx, revision); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("record revision %s: %w", revision.Name, err)
	}
	return nil
}

// tell emits an event for what a person would want to see later.
func (r *Intent) tell(app *v1alpha1.Application, plan assign.Plan, next intentStatus) {
	placed := !slices.Equal(next.Clusters, app.Status.Clusters)
	switch admitted := next.Revision != app.Status.Revision; {
	case admitted && placed: // of a new application: one event is enough
		r.Events.Eventf(app, nil, "Normal", "RevisionAdmitted", "Admit", "revision %s is being delivered; %s", next.Revision, plan.Placed.Message)
	case admitted:
		r.Events.Eventf(app, nil, "Normal", "RevisionAdmitted", "Admit", "revision %s is being delivered", next.Revision)
	case placed:
		r.Events.Eventf(app, nil, "Normal", "PlacementChanged", "Place", "%s", plan.Placed.Message)
	}
	was, is := meta.FindStatusCondition(app.Status.Conditions, v1alpha1.ConditionFrozen), meta.FindStatusCondition(next.Conditions, v1alpha1.ConditionFrozen)
	switch {
	case is != nil && was == nil:
		r.Events.Eventf(app, nil, "Normal", "Frozen", "Freeze", "%s", clip(is.Message))
	case is == nil && was != nil:
		r.Events.Eventf(app, nil, "Normal", "Thawed", "Thaw", "clusters are told of changes again")
	}
	if c := meta.FindStatusCondition(next.Conditions, v1alpha1.ConditionRolledOut); c != nil && !sameWord(c, app) {
		r.Events.Eventf(app, nil, pick(c.Status == metav1.ConditionTrue, "Normal", "Warning"), "Rollout"+c.Reason, "RollOut", "%s", clip(c.Message))
	}
	if !plan.Accepted.True {
		r.Events.Eventf(app, nil, "Warning", plan.Accepted.Reason, "Admit", "%s", clip(plan.Accepted.Message))
	}
}

// sameWord tells that the application's condition said so before. A rollout may wait
// for one thing after the other.
func sameWord(c *metav1.Condition, app *v1alpha1.Application) bool {
	old := meta.FindStatusCondition(app.Status.Conditions, c.Type)
	return old != nil && old.Reason == c.Reason && (c.Reason != string(v1alpha1.RolloutWaiting) || old.Message == c.Message)
}

// maxNote is what the API server allows in an event.
const maxNote = 1000

func clip(s string) string {
	if len(s) <= maxNote {
		return s
	}
	return strings.ToValidUTF8(s[:maxNote], "") + "…"
}
