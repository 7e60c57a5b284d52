package apply

import (
	"context"
	"errors"
	"strings"
	"time"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/drift"
	"atoll.dev/atoll/internal/report"
)

// job is what a worker needs to work on one object without the lock.
type job struct {
	step       step
	target     target
	want       desired.Entry
	manager    string
	object     object // a copy: its source and record are never changed in place
	values     Values
	heirOf     string
	mayForce   bool // corrections are not held
	unrecorded bool
	// mayNotDelete tells that the member forbids deletions.
	mayNotDelete bool
}

// outcome is what became of a job.
type outcome struct {
	err     error
	problem *report.Problem // instead of err, when it is known what it means
	rec     *record
	seen    *sighting
	changes []report.Change // corrected
	absent  bool            // the object does not exist
	foreign bool            // what stands there is not ours: forget it
	deleted bool            // the deletion was accepted
	// unchangeable: it is refused as a change, which it may not be as a new object.
	unchangeable bool
	madeRoom     bool   // it is being deleted, to be made anew
	spared       string // why it is not
	later        bool   // a later hand of ours than was recorded

	kept      *record // instead of a deletion, with what the object says
	goes      bool    // what an earlier content made is being deleted
	discarded bool    // the object of a hook that ended is deleted
}

// syncObject brings one object a step nearer to what it should be.
func (e *Engine) syncObject(ctx context.Context, id ID) {
	e.mu.Lock()
	o, ok := e.objects[id]
	if !ok {
		e.mu.Unlock()
		return
	}
	now := e.clock()
	s := o.next(now)
	if s == idle || e.tooEarly(o, s, now) {
		if s == idle {
			e.attempted(o)
			e.resume(o, now)
		}
		e.mu.Unlock()
		return
	}
	j := e.jobFor(o, s, now)
	o.busy = true
	e.mu.Unlock()

	out := e.carryOut(ctx, j)
	if ctx.Err() != nil {
		return
	}

	e.mu.Lock()
	defer e.mu.Unlock()
	if e.objects[id] != o {
		return
	}
	o.busy = false
	e.record(o, j, out)
	if stash := o.stash; stash != nil {
		o.stash = nil
		e.observe(o, *stash)
	}
	if out.err == nil && out.problem == nil {
		if s := o.next(e.clock()); s != idle && e.objects[id] == o {
			e.queue.Add(task{object: id}, s.priority())
		}
	}
}

// tooEarly holds an object back while it waits after failures, for its turn, or for
// the namespaces and definitions of its own delivery.
func (e *Engine) tooEarly(o *object, s step, now time.Time) bool {
	if s.applies() && o.spent() {
		return true // something else that is asked for, or a person, has it tried anew
	}
	until := o.notBefore
	if (s == correct || s == recreate) && o.calmUntil.After(until) {
		until = o.calmUntil
	}
	if (s == create || s == recreate || s == launch) && o.entry.recalled && e.hearBy.After(until) {
		until = e.hearBy
	}
	if wait := until.Sub(now); wait > 0 {
		e.queue.AddAfter(task{object: o.id}, s.priority(), wait)
		return true
	}
	if o.waits(s) {
		return true // advance comes back to it
	}
	return (s == create || s == deliver || s == launch) && o.id.phase() == 1 && o.entry.left[0] > 0
}

func (e *Engine) jobFor(o *object, s step, now time.Time) job {
	want := o.entry.want
	j := job{
		step: s, want: want, manager: FieldManager(want.Key), object: *o, values: e.values,
		target:   target{kind: o.kind, id: o.id, project: want.Key.Project},
		heirOf:   e.heirs[o.id],
		mayForce: o.corrects(now),
		// Objects whose baseline was lost are applied once each, at a pace.
		unrecorded:   o.rec == nil && o.unrecorded || o.rec != nil && o.rec.Baseline.Empty(),
		mayNotDelete: e.member.limits.Deletions,
	}
	if want.Policy.Privileged {
		j.target.project = ""
	}
	return j
}

func (e *Engine) carryOut(ctx context.Context, j job) outcome {
	if j.target.kind.gvr.Resource == "" {
		k, err := e.kinds.Find(ctx, gvkOf(j.object.ref))
		if j.step == trace && errors.Is(err, errNoKind) {
			return outcome{foreign: true}
		}
		if err != nil {
			return e.failed(ctx, j, err)
		}
		j.target.kind = k
	}
	if j.unrecorded && j.step != remove && j.step != trace && e.unrecorded.Wait(ctx) != nil {
		return outcome{err: ctx.Err()}
	}
	switch j.step {
	case trace:
		return e.lookFor(ctx, j)
	case weigh:
		return e.weigh(ctx, j)
	case remove:
		return e.remove(ctx, j)
	case check:
		return e.look(ctx, j)
	case create:
		return e.create(ctx, j)
	case recreate:
		return e.recreate(ctx, j)
	case correct:
		return e.correct(ctx, j)
	case launch:
		return e.launch(ctx, j)
	case discard:
		return e.discard(ctx, j)
	case remake:
		return e.makeRoom(ctx, j)
	}
	return e.deliver(ctx, j)
}

// record takes an outcome over; e.mu is held.
func (e *Engine) record(o *object, j job, out outcome) {
	en := o.entry
	e.touch(en)
	if j.step == weigh && out.err == nil && out.problem == nil {
		e.weighed(o, out)
		return
	}
	defer func() {
		e.attempted(o)
		e.remakeStuck(en)
		e.advance(en)
	}()
	switch {
	case out.err != nil || out.problem != nil:
		e.fail(o, j.step, out)
		return
	case out.deleted:
		o.succeed()
		o.deleting = true
		e.lookLater(o)
		return
	case out.madeRoom:
		e.roomMade(o)
		return
	case out.kept != nil:
		e.spare(o, out.kept)
		return
	case out.absent && (o.remove || o.kept()), out.foreign, out.seen != nil && o.kept() && string(out.seen.meta.GetUID()) != o.rec.UID:
		e.drop(en, o.id)
		e.wakeSave()
		e.wakeClaimants()
		e.prune(en)
		return
	case o.hook != nil && e.recordHook(o, j, out):
		return
	}
	o.succeed()
	o.recheck, o.judgeAt, o.missing, o.vanished = false, time.Time{}, out.absent, false
	o.kind = j.target.kind
	if o.missing {
		o.seen = true
	}
	if out.rec != nil {
		e.accept(o, j, out)
	}
	if out.seen != nil {
		e.observe(o, *out.seen)
	}
	if o.deleting {
		e.lookLater(o)
	}
	if en.prepared && en.left == [2]int{} && en.applied() {
		e.prune(en)
	}
}

// accept records what the API server accepted.
func (e *Engine) accept(o *object, j job, out outcome) {
	en := o.entry
	o.rec, o.unrecorded, o.regain, o.replaced, o.seen = out.rec, false, false, false, true
	o.drift, o.additions, o.version, o.again = nil, false, "", o.again && !j.object.again
	if out.rec.Accepted == o.want {
		o.body = nil
	}
	if out.rec.ID.GroupKind() == crdKind {
		e.definitionChanged(o)
		en.defined = true
	}
	delete(e.heirs, o.id)
	e.madeAnew(o)
	if len(out.changes) > 0 {
		en.note(out.changes)
		en.corrections += int64(len(out.changes))
		e.contest(o)
	}
	e.unsaved[en.want.Key] = true
	e.wakeSave()
}

// lookLater reads an object that is going away from time to time, in case no
// watch tells when it is gone.
func (e *Engine) lookLater(o *object) {
	const pause = 2 * time.Second
	o.recheck, o.notBefore = true, e.clock().Add(pause)
	e.queue.AddAfter(task{object: o.id}, ordinary, pause)
}

// contest slows down when somebody keeps changing the same object back.
func (e *Engine) contest(o *object) {
	const window, patience = time.Minute, 10
	now := e.clock()
	if now.Sub(o.fightFrom) > window {
		o.fightFrom, o.fights = now, 0
	}
	if o.fights++; o.fights > patience {
		o.calmUntil = now.Add(backoff(o.fights-patience, 500*time.Millisecond, time.Minute))
	}
}

// fail keeps the problem and decides when to try again.
func (e *Engine) fail(o *object, s step, out outcome) {
	o.problem = out.problem
	if o.problem == nil {
		o.problem = &report.Problem{Object: o.ref, Reason: "ApplyFailed", Message: clip(out.err.Error())}
	}
	o.getStuck(s, out)
	wait := spread(o.waitAfter(s))
	o.failures++
	now := e.clock()
	if o.troubled.IsZero() || o.troubledBy != o.entry.digest {
		o.troubled, o.troubledBy = now, o.entry.digest
	}
	if s.applies() && !unreachable(out.err) {
		o.refused++
	}
	if s.applies() && o.spent() {
		o.notBefore = time.Time{}
		o.problem.Message = clipTo(o.problem.Message, report.MaxMessage-len(givenUp(o))) + givenUp(o)
		return
	}
	o.notBefore = now.Add(wait)
	e.queue.AddAfter(task{object: o.id}, ordinary, wait)
}

// described are the changes as a report carries them; Secret values are hidden.
func described(o *object, manifest map[string]any, changes []drift.Change, corrected bool) []report.Change {
	out := make([]report.Change, 0, len(changes))
	for _, c := range changes {
		r := report.Change{Object: o.ref, Path: drift.Dotted(c.Path), Manager: clipTo(c.Manager, 128), Corrected: corrected}
		if !c.At.IsZero() {
			r.At = report.Time(c.At)
		}
		if old, ok := drift.Lookup(manifest, c.Path); ok {
			r.Old = drift.Text(old)
		}
		if !c.Gone {
			r.New = drift.Text(c.New)
		}
		if o.id.GroupKind() == secretKind && !strings.HasPrefix(r.Path, "metadata.labels") {
			r.Old, r.New = drift.Hidden, drift.Hidden
		}
		if !corrected && !o.pause.Until.IsZero() {
			r.Paused = o.pause.Until.UTC().Format(time.RFC3339)
		}
		out = append(out, r)
		if len(out) == report.MaxChanges {
			break
		}
	}
	return out
}

func reports(p desired.Policy) bool { return p.DriftMode == v1alpha1.DriftReport }

func clip(s string) string { return clipTo(s, report.MaxMessage) }

func clipTo(s string, most int) string {
	if len(s) <= most {
		return s
	}
	cut := most - len("…")
	for cut > 0 && s[cut]&0xC0 == 0x80 {
		cut--
	}
	return s[:cut] + "…"
}
