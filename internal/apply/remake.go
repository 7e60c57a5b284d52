package apply

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/report"
	"atoll.dev/atoll/internal/syncoption"
)

// An object whose change the API server refuses, because it touches what cannot be
// changed, is deleted and made anew where a person asks for it or its manifest says
// so. All that guards deletions guards this too: only the recorded UID goes, within
// the budget of the sync, and all that would go is known before the first one does.

// forcedBy is who deleted such an object, as changes by others name who made them.
const forcedBy = "atoll (made anew)"

// unchangeable tells that a live object cannot become what is asked, though the same
// may be right for a new one.
func unchangeable(err error) bool { return apierrors.IsInvalid(err) }

// mayRemake tells that somebody wants the object deleted rather than left as it is.
func (o *object) mayRemake() bool { return o.forced || o.options.Recreate }

// getStuck keeps what a failed attempt means for that.
func (o *object) getStuck(s step, out outcome) {
	en := o.entry
	if s == remake {
		if out.problem != nil {
			o.notToGo()
		}
		if out.spared != "" {
			o.notRemade(out.spared)
		}
		return
	}
	o.stuck = out.unchangeable && o.rec != nil && o.hook == nil && (s == deliver || s == correct)
	switch {
	case o.stuck && o.mayRemake():
		en.stuck = true
	case o.stuck && o.spared != "":
		o.notRemade(o.spared) // as was said when somebody asked for it
	}
}

// remakeStuck decides, once all of the step was attempted, which objects are deleted
// to be made anew; e.mu is held.
func (e *Engine) remakeStuck(en *entry) {
	if !en.stuck || !en.prepared || en.taken != en.digest || en.recalled || en.want.Withdrawn {
		return
	}
	var stuck []*object
	for _, o := range en.objects {
		switch {
		case !o.wanted() || o.stage > en.stage || o.hook != nil:
		case !o.attempted:
			return // one budget is for all of them
		case o.stuck && !o.remake && o.mayRemake():
			stuck = append(stuck, o)
		}
	}
	en.stuck = false
	progress := en.pruning
	if sync := syncOf(en.want); progress.Sync != sync {
		progress = pruning{Sync: sync}
	}
	stuck = e.spareGuarded(en, stuck)
	budget := int(en.want.Policy.DeletionBudget)
	if len(stuck) > budget-progress.Deleted {
		for _, o := range stuck {
			o.notRemade(fmt.Sprintf("%d objects would be deleted, and one sync may delete %d", len(stuck), budget))
		}
		return
	}
	for _, o := range stuck {
		o.remake, o.notBefore = true, time.Time{}
		progress.Deleted++
		e.queue.Add(task{object: o.id}, ordinary)
	}
	if len(stuck) > 0 {
		en.pruning = progress
		e.unsaved[en.want.Key] = true
		e.wakeSave()
	}
}

const (
	deletionsForbidden = "the member forbids deletions (ConfigMap " + limitsName + " in " + systemNamespace + ")"
	pauseHolds         = "a pause holds"
)

// spareGuarded takes out what is not deleted, whoever asks for it.
func (e *Engine) spareGuarded(en *entry, stuck []*object) []*object {
	var rest []*object
	for _, o := range stuck {
		switch {
		case en.want.Policy.Hub != nil:
			o.notRemade("on the hub nothing is")
		case e.member.limits.Deletions:
			o.notRemade(deletionsForbidden)
		case needsConfirmation(o.id):
			o.notRemade("what lies in it would go too: delete it by hand")
		case o.rec.Keep != 0 || o.options.Keep != 0:
			o.notRemade("its annotations say that it stays")
		case o.pause.Holds(e.clock()):
			o.notRemade(pauseHolds)
		default:
			rest = append(rest, o)
		}
	}
	return rest
}

// notToGo takes back an approval of which nothing was made: nothing was deleted.
func (o *object) notToGo() {
	if o.remake {
		o.remake, o.entry.pruning.Deleted = false, max(o.entry.pruning.Deleted-1, 0)
	}
}

// mayGo tells that what was approved is what is still asked for: an object of an
// application that is being withdrawn, or of a content that comes to be replaced, is
// not deleted for what was asked before.
func (o *object) mayGo() bool {
	en := o.entry
	return o.remake && en.prepared && en.taken == en.digest && !en.want.Withdrawn
}

// notRemade says why the object stays as it is, until something else is asked for.
func (o *object) notRemade(why string) {
	const but, most = "; it is not deleted to be made anew: ", report.MaxMessage / 2
	o.stuck, o.forced, o.spared = false, false, clipTo(why, most)
	o.problem = &report.Problem{Object: o.ref, Reason: "Invalid", Message: clipTo(o.problem.Message, most-len(but)) + but + o.spared}
}

// makeRoom deletes the object, after the API server has said that it would take the
// new one.
func (e *Engine) makeRoom(ctx context.Context, j job) outcome {
	live, err := e.clients.get(ctx, j.target)
	switch {
	case apierrors.IsNotFound(err):
		return outcome{absent: true}
	case err != nil:
		return e.failed(ctx, j, err)
	case live.GetDeletionTimestamp() != nil:
		return outcome{madeRoom: true}
	}
	why := ""
	switch {
	// The approval may have waited while these came.
	case j.mayNotDelete:
		why = deletionsForbidden
	case j.object.pause.Holds(e.clock()):
		why = pauseHolds
	case string(live.GetUID()) != j.object.rec.UID:
		why = "it is another one than was recorded"
	case controlled(live):
		why = "a controller owns it"
	case syncoption.KeptLive(live.Object) != 0:
		why = "its annotations say that it stays"
	default:
		if err := e.wouldTake(ctx, j); err != nil {
			if unreachable(err) {
				return outcome{err: err}
			}
			why = "the API server would not take the new one: " + e.redacted(j, err).Error()
		}
	}
	if why != "" {
		return outcome{spared: why, problem: &report.Problem{Object: j.object.ref, Reason: "Invalid", Message: "it cannot be changed as asked"}}
	}
	switch err := e.clients.delete(ctx, j.target, live.GetUID()); {
	case apierrors.IsNotFound(err):
		return outcome{absent: true}
	case apierrors.IsConflict(err):
		return outcome{err: err}
	case err != nil:
		return e.failed(ctx, j, err)
	}
	e.log.Warn("an object was deleted to be made anew, because it cannot be changed as asked", "object", j.target.id.String(), "uid", string(live.GetUID()))
	return outcome{madeRoom: true}
}

// wouldTake asks the API server whether it would make the object, under a name that
// nothing has: what stands there would be changed, and that is refused.
func (e *Engine) wouldTake(ctx context.Context, j job) error {
	obj, err := renderOne(j.object.source, j.want, j.target.kind, j.values)
	if err != nil {
		return fmt.Errorf("render %s: %w", j.target.id, err)
	}
	t := j.target
	t.id.Name = "atoll-" + desired.Sum([]byte(j.object.rec.UID)).Short()
	obj.SetName(t.id.Name)
	body, err := json.Marshal(obj.Object)
	if err != nil {
		return fmt.Errorf("encode %s: %w", j.target.id, err)
	}
	_, err = e.clients.dryRun(ctx, t, body, j.manager)
	return err
}

// roomMade takes that the old object goes; the watch, or a look, tells when it is
// gone; e.mu is held.
func (e *Engine) roomMade(o *object) {
	if !o.remake { // the approval was taken back while it was carried out
		o.entry.pruning.Deleted++
		e.unsaved[o.entry.want.Key] = true
		e.wakeSave()
	}
	o.remake = false // and the budget is spent
	o.succeed()
	o.remade, o.recheck = true, true
	e.queue.AddAfter(task{object: o.id}, ordinary, 2*time.Second)
}

// madeAnew tells of an object that was deleted for that, and ends the wish for it.
func (e *Engine) madeAnew(o *object) {
	if o.remade {
		o.entry.note([]report.Change{{Object: o.ref, New: report.Deleted, Manager: forcedBy, At: report.Time(e.clock()), Corrected: true}})
	}
	o.forced, o.remade, o.spared = false, false, ""
}
