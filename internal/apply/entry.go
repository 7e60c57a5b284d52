package apply

import (
	"time"

	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/drift"
	"atoll.dev/atoll/internal/phase"
	"atoll.dev/atoll/internal/report"
)

// entry is one application as the engine works on it; Engine.mu guards it.
type entry struct {
	want   desired.Entry
	digest desired.Digest
	// prepared tells that objects stand for digest: rendered, checked, queued.
	prepared bool
	// taken is the digest that objects stand for: what is said of them is said
	// of digest only when both are the same.
	taken desired.Digest
	// problems stop the whole entry; refused tells that only a change helps.
	problems []report.Problem
	refused  bool
	attempts int // to prepare digest

	objects map[ID]*object
	// waiting are objects that another application owns; unmapped those whose
	// kind is not served.
	waiting       map[ID]report.ObjectRef
	unmapped      map[ID]report.ObjectRef
	unmappedSince time.Time
	defined       bool // a definition was written since the last preparing
	stuck         bool // an object may be one to delete and make anew
	// left counts the objects up to the stage, namespaces and definitions apart,
	// that were not attempted yet.
	left [2]int

	// The order of the delivery: stage.go and hook.go.
	steps       []phase.Step
	stage       int            // the step that is under way, or barred
	laid        desired.Digest // what steps are of
	absent      map[ID]int     // the stages of what is unmapped or waiting
	hooks       []*object
	runs        map[ID]*run
	stopped     bool           // a hook has failed
	finished    bool           // all of the last step is applied
	installing  bool           // nothing was ever finished here
	installed   desired.Digest // the content that was finished first, until another comes
	noDeletions bool           // the member forbids them
	holder      string         // the application that a barred entry waits for

	rules       entryRules
	pruning     pruning
	held        []victim // as of the last plan
	heldWhy     string
	leftBehind  []victim        // of a withdrawn entry: what was not deleted
	changes     []report.Change // by others, corrected, newest last
	corrections int64
	gone        bool // withdrawn, and nothing is left to do

	// recalled and what follows from it: recall.go.
	recalled  bool
	overtaken bool // what runs is newer than the entry
	// generation is the Application's that objects, or else the records, are of.
	generation int64
	// named is the content of which all objects are in objects.
	named desired.Digest

	stale bool // state must be computed again
	state report.State
}

// entryRules are the compiled rules of a policy.
type entryRules struct {
	ignore, exact drift.Rules
	health        healthRules
}

// enter starts an entry, with what was recorded of it before.
func (e *Engine) enter(want desired.Entry) *entry {
	en := &entry{want: want, objects: map[ID]*object{}, runs: map[ID]*run{}, stale: true}
	e.entries[want.Key], en.noDeletions = en, e.member.limits.Deletions
	inv, ok := e.saved[want.Key]
	if !ok {
		return en
	}
	delete(e.saved, want.Key)
	if !continues(want, inv.UID) {
		// Another application of the same name: it inherits nothing.
		e.unsaved[want.Key] = true
		return en
	}
	en.pruning, en.corrections, en.changes = inv.Pruning, inv.Corrections, inv.Changes
	en.generation, en.installing, en.installed = inv.Generation, inv.Installing, inv.Installed
	for _, r := range inv.Runs {
		en.runs[r.ID] = &r
	}
	for _, r := range inv.Records {
		if _, taken := e.objects[r.ID]; taken {
			continue
		}
		o := &object{id: r.ID, ref: r.ID.Ref(r.Version), entry: en, rec: &r, firstSeen: e.clock()}
		en.objects[r.ID], e.objects[r.ID] = o, o
	}
	return en
}

// continues tells whether what is kept under a UID is the entry's own.
func continues(want desired.Entry, uid string) bool {
	return uid == want.UID || want.Continues != "" && uid == want.Continues
}

// renew takes over a changed intent; the objects follow when it is prepared.
func (en *entry) renew(want desired.Entry, digest desired.Digest) {
	if en.gone && !want.Withdrawn {
		// It comes back before the hub had forgotten it: nothing of it was left.
		en.gone, en.laid, en.installing, en.installed, en.runs = false, "", false, "", map[ID]*run{}
	}
	if !want.Withdrawn {
		en.leftBehind = nil
	}
	if digest != en.digest {
		for _, o := range en.objects {
			o.forced = false // that was said of what was asked for then
		}
	}
	en.want, en.digest = want, digest
	en.prepared, en.attempts = false, 0
	en.unmappedSince = time.Time{}
	en.stale = true
}

// forget lets go of an application without touching its objects.
func (e *Engine) forget(en *entry) {
	for id := range en.objects {
		e.drop(en, id)
	}
	delete(e.entries, en.want.Key)
	delete(e.formers, en.want.Key)
	delete(e.barred, en.want.Key)
	e.wakeBarred(en.want.Key)
	e.unsaved[en.want.Key] = true
	e.wakeSave()
	e.wakeClaimants()
}

// drop removes an object from the inventory; another application that waits
// for it may take over what was ours.
func (e *Engine) drop(en *entry, id ID) {
	o := en.objects[id]
	if r := en.runs[id]; r != nil && !r.Stage.ended() {
		r.Content = "" // cut short: with its content it begins again
	}
	delete(en.objects, id)
	delete(e.objects, id)
	for _, other := range e.entries {
		if _, waits := other.waiting[id]; waits && other != en && o.rec != nil {
			e.heirs[id] = FieldManager(en.want.Key)
		}
	}
	e.unsaved[en.want.Key] = true
}

// wakeClaimants prepares again whoever waits for an object that is free now.
func (e *Engine) wakeClaimants() {
	for key, en := range e.entries {
		for id := range en.waiting {
			if _, owned := e.objects[id]; !owned {
				en.prepared = false
				e.queue.Add(task{entry: key}, ordinary)
				break
			}
		}
	}
}

// note keeps the latest changes by others.
func (en *entry) note(changes []report.Change) {
	en.changes = append(en.changes, changes...)
	if extra := len(en.changes) - report.MaxChanges; extra > 0 {
		en.changes = append([]report.Change(nil), en.changes[extra:]...)
	}
}

// applied tells that every object of the delivery is as the entry says.
func (en *entry) applied() bool {
	if !en.prepared || len(en.waiting) > 0 || len(en.unmapped) > 0 {
		return false
	}
	for _, o := range en.objects {
		if o.wanted() && !o.verifies() && !o.applied() {
			return false
		}
	}
	return true
}

// retryPrepare queues another attempt.
func (e *Engine) retryPrepare(en *entry, first, most time.Duration) {
	e.queue.AddAfter(task{entry: en.want.Key}, ordinary, spread(backoff(en.attempts, first, most)))
	en.attempts++
}
