package apply

import (
	"slices"
	"time"

	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/phase"
)

// A hook is an object that runs once for each content: it is made, watched until
// it ends, and neither corrected nor made again, whoever deletes it. That it runs
// is stored before it is made, so that no later life of the agent begins it anew.

// run is what became of one hook; it outlives the object.
type run struct {
	ID ID `cbor:"1,keyasint"`
	// Content is the one that it runs for, or ran for last.
	Content desired.Digest `cbor:"2,keyasint"`
	Stage   runStage       `cbor:"3,keyasint"`
	// UID is the object's that was made for Content.
	UID string `cbor:"4,keyasint,omitempty"`
	// Why says why it failed.
	Why string `cbor:"5,keyasint,omitempty"`
	// Gone tells that its delete policy was carried out.
	Gone bool `cbor:"6,keyasint,omitempty"`
	// Earlier are contents that it succeeded for before, the latest last.
	Earlier []desired.Digest `cbor:"7,keyasint,omitempty"`
	// Failed is the UID of the object that failed for Content, when it runs once more.
	Failed string `cbor:"8,keyasint,omitempty"`
}

// runStage is how far a run got.
type runStage uint8

const (
	runBegun     runStage = iota + 1 // it may have been made
	runMade                          // it was, as UID
	runSucceeded                     // it never runs for Content again
	runFailed                        // and neither does what failed
)

// maxEarlier bounds the contents that a hook is remembered for: a rollback to
// one of them does not run it again.
const maxEarlier = 16

// begin is the run for another content.
func (r *run) begin(id ID, content desired.Digest) *run {
	next := &run{ID: id, Content: content, Stage: runBegun}
	if r == nil {
		return next
	}
	next.Earlier = slices.Clone(r.Earlier)
	if r.Stage == runFailed && r.Content == "" {
		next.Failed = r.UID
	}
	if r.Stage == runSucceeded {
		next.Earlier = append(next.Earlier, r.Content)
	}
	if extra := len(next.Earlier) - maxEarlier; extra > 0 {
		next.Earlier = next.Earlier[extra:]
	}
	return next
}

// of is how far the hook got for a content; 0 when it did not begin.
func (r *run) of(content desired.Digest) runStage {
	switch {
	case r == nil:
		return 0
	case r.Content == content:
		return r.Stage
	case slices.Contains(r.Earlier, content):
		return runSucceeded
	}
	return 0
}

func (s runStage) ended() bool { return s >= runSucceeded }

// ran is how far a hook of the entry got for what its objects stand for.
func (o *object) ran() runStage { return o.entry.runs[o.id].of(o.entry.named) }

// over tells a hook that the delivery need not wait for, or no more.
func (o *object) over() bool {
	return o.stage == phase.Aside || o.dormant() || o.ran() == runSucceeded
}

// silent tells a hook that has no part in what there is to say.
func (o *object) silent() bool {
	return o.ran() == 0 && (o.dormant() || o.stage == phase.Aside && !o.entry.stopped)
}

// dormant tells a hook that does nothing in this delivery, as it goes now.
func (o *object) dormant() bool {
	switch {
	case o.hook.Dormant(o.entry.first()):
		return true
	case o.hook.Phase == phase.SyncFail:
		return !o.entry.stopped
	}
	return false
}

// hookStep is what a hook needs next.
func (o *object) hookStep(due bool) step {
	switch stage := o.ran(); {
	case !o.entry.prepared:
		return idle
	case stage.ended() && o.discardable():
		return discard
	case o.dormant():
		return idle
	case stage == 0 || stage == runBegun:
		return launch
	case stage == runMade && due:
		return check
	}
	return idle
}

// discardable tells a hook that has ended, whose phase is over and whose policy
// has it deleted then.
func (o *object) discardable() bool {
	r, en := o.entry.runs[o.id], o.entry
	if r.Content != en.named || r.Gone || r.UID == "" || en.noDeletions || needsConfirmation(o.id) {
		return false
	}
	if r.Stage == runSucceeded && !o.hook.Deletion.Succeeded || r.Stage == runFailed && !o.hook.Deletion.Failed {
		return false
	}
	if o.verifies() {
		return en.verified()
	}
	return en.stopped || o.hook.Phase == phase.SyncFail || en.past(o.hook.Phase)
}

// held tells a hook that waits for its turn.
func (o *object) held() bool {
	en := o.entry
	if !en.stopped || !o.hook.Fails() {
		return o.stage > en.stage || o.stage == phase.Aside
	}
	for _, other := range en.hooks {
		if other.wanted() && other.hook.Fails() && other.hook.Wave < o.hook.Wave && !other.ran().ended() {
			return true
		}
	}
	return false
}

// observeHook takes a sighting of a hook's object; e.mu is held.
func (e *Engine) observeHook(o *object, s sighting) {
	defer e.touch(o.entry)
	r := o.entry.runs[o.id]
	if o.ran() == runMade && r.UID == string(s.meta.GetUID()) {
		e.judge(o, s)
		end, why := phase.Succeeded, ""
		if s.full != nil {
			end, why = phase.EndOf(s.full, o.serves())
		}
		e.end(o, end, why)
	}
	if next := o.next(e.clock()); next != idle {
		e.queue.Add(task{object: o.id}, next.priority())
	}
	e.advance(o.entry)
}

// hookDeleted takes the last sighting of a hook's object. It may have ended
// before, and what did not is looked for: only its label may have gone.
func (e *Engine) hookDeleted(o *object, s sighting) {
	r := o.entry.runs[o.id]
	if o.ran() == runMade && r.UID == string(s.meta.GetUID()) {
		if s.full != nil {
			end, why := phase.EndOf(s.full, false)
			e.end(o, end, why)
		}
		o.recheck = true
	}
	o.notBefore = time.Time{}
	e.queue.Add(task{object: o.id}, ordinary)
	e.advance(o.entry)
}

// hookMissing takes that the object of a run does not exist although nobody saw
// it end; e.mu is held.
func (e *Engine) hookMissing(o *object) {
	if o.ran() == runMade {
		e.end(o, phase.Failed, "it was deleted before it was seen to end; it runs again with another content, or by atoll sync")
	}
}

// end records how a hook ended; e.mu is held.
func (e *Engine) end(o *object, end phase.End, why string) {
	if end == phase.Running {
		return
	}
	r := o.entry.runs[o.id]
	r.Stage, r.Why = runSucceeded, ""
	if end == phase.Failed {
		r.Stage, r.Why = runFailed, clip(why)
	}
	e.unsaved[o.entry.want.Key] = true
	e.wakeSave()
	e.touch(o.entry)
	o.entry.judgeRuns()
	e.wakeHooks(o.entry)
}

// judgeRuns tells whether a hook has failed, which ends the delivery.
func (en *entry) judgeRuns() {
	en.stopped = false
	for _, o := range en.hooks {
		if o.wanted() && o.stage != phase.Aside && !o.verifies() && o.ran() == runFailed {
			en.stopped = true
		}
	}
}

// wakeHooks queues the hooks that have something to do; e.mu is held.
func (e *Engine) wakeHooks(en *entry) {
	for _, o := range en.hooks {
		if s := o.next(e.clock()); s != idle {
			e.queue.Add(task{object: o.id}, s.priority())
		}
	}
}
