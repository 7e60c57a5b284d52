package apply

import (
	"cmp"
	"fmt"
	"slices"

	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/phase"
	"atoll.dev/atoll/internal/report"
)

// A delivery goes by steps, which internal/phase lays out: what an entry's
// objects need is begun only for the steps up to its stage, and the stage moves on
// when all of these are applied and healthy. Corrections know no stages: what was
// delivered is kept as it is. An application without any order has one step, and
// nothing here costs it anything.

// barred is the stage of an entry that waits for other applications.
const barred = -1

// lay puts the objects of a rendering in their order; e.mu is held.
func (e *Engine) lay(en *entry, r rendering) {
	reached := en.stage
	again := en.laid == en.digest
	en.laid, en.hooks, en.finished = en.digest, nil, false
	missing := sortedRefs(r.unmapped)
	marks := r.marks(missing)
	if !again {
		if en.installed != en.named {
			en.installed = ""
		}
		en.installing = slices.ContainsFunc(marks, isHook) && (en.installing || len(en.runs) == 0 && !en.recorded())
		if reached = 0; !e.free(en) {
			reached = barred
		}
	}
	layout := phase.Plan(marks, en.first())
	en.steps = layout.Steps
	en.stage = min(reached, len(en.steps)-1)
	for i := range r.objects {
		r.objects[i].stage = layout.At[i]
	}
	en.absent = map[ID]int{}
	for i, id := range missing {
		if marks[len(r.objects)+i].Dormant(en.first()) {
			delete(r.unmapped, id) // nothing needs its kind
			continue
		}
		en.absent[id] = layout.At[len(r.objects)+i]
	}
	r.defineFirst(en.absent)
	e.bar(en)
}

// first tells that this content is, or was, the first to be delivered in full:
// what is for an upgrade is not for it, however often it is laid out.
func (en *entry) first() bool {
	return en.installing || en.installed != "" && en.installed == en.named
}

// defineFirst has no object wait for a definition that would come after it.
func (r rendering) defineFirst(absent map[ID]int) {
	for i := range r.objects {
		o := &r.objects[i]
		if o.id.GroupKind() != crdKind {
			continue
		}
		for id, stage := range absent {
			if stage != phase.Aside && id.Group == groupOfDefinition(o.id.Name) {
				o.stage = min(o.stage, stage)
			}
		}
	}
}

func isHook(m phase.Mark) bool { return m.Hook }

// marks are those of the objects, then of what is missing.
func (r rendering) marks(missing []ID) []phase.Mark {
	marks := make([]phase.Mark, 0, len(r.objects)+len(missing))
	for i := range r.objects {
		marks = append(marks, r.objects[i].mark)
	}
	for _, id := range missing {
		marks = append(marks, r.unmappedMarks[id])
	}
	return marks
}

func sortedRefs(refs map[ID]report.ObjectRef) []ID {
	ids := make([]ID, 0, len(refs))
	for id := range refs {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, ID.Compare)
	return ids
}

// recorded tells that something of the application was applied before.
func (en *entry) recorded() bool {
	for _, o := range en.objects {
		if o.rec != nil {
			return true
		}
	}
	return false
}

// ordered tells an entry whose delivery has more than one step.
func (en *entry) ordered() bool { return len(en.steps) > 1 || len(en.hooks) > 0 || en.stage == barred }

// later tells what a delivery has not come to. Where a hook has failed, the hooks
// for that have their own order.
func (o *object) later() bool {
	if o.hook != nil {
		return o.held()
	}
	return o.stage > o.entry.stage
}

// waits tells a step that belongs to a delivery, and not to keeping things as
// they were delivered.
func (o *object) waits(s step) bool {
	switch s {
	case create, deliver, launch:
		return o.later()
	case recreate:
		return o.later() && o.rec.Accepted != o.want
	}
	return false
}

// advance opens the steps of an entry whose former ones are done; e.mu is held.
func (e *Engine) advance(en *entry) {
	if !en.prepared || !en.ordered() || en.want.Withdrawn {
		return
	}
	for en.left == [2]int{} && !en.stopped && en.stage < len(en.steps)-1 && e.done(en) {
		e.complete(en)
		en.stage++
		e.bar(en)
		e.touch(en)
		for _, o := range en.objects {
			if o.wanted() && !o.attempted && o.stage == en.stage {
				en.left[o.id.phase()]++
			}
		}
		e.wakeHooks(en)
		e.release(en)
	}
	e.complete(en)
}

// complete finishes a delivery whose last step is applied.
func (e *Engine) complete(en *entry) {
	if en.stage >= en.delivering() && !en.finished && en.left == [2]int{} && en.applied() {
		e.finish(en)
	}
}

// done tells that everything up to the entry's stage is applied and healthy.
func (e *Engine) done(en *entry) bool {
	if en.stage == barred {
		return e.free(en)
	}
	return e.undone(en) == nil && !en.lacking()
}

// lacking tells that something up to the stage cannot be delivered: no kind is
// served for it, or another application owns it.
func (en *entry) lacking() bool {
	for _, stage := range en.absent {
		if stage != phase.Aside && stage <= en.stage {
			return true
		}
	}
	return false
}

// undone is the first object that the next step waits for.
func (e *Engine) undone(en *entry) *object {
	var first *object
	for _, o := range en.objects {
		if !o.wanted() || o.stage > en.stage || o.ready() {
			continue
		}
		if first == nil || cmp.Or(cmp.Compare(o.stage, first.stage), o.id.Compare(first.id)) < 0 {
			first = o
		}
	}
	return first
}

// ready tells that a later step need not wait for the object.
func (o *object) ready() bool {
	switch {
	case o.hook != nil:
		return o.over()
	case !o.applied():
		return false
	}
	return o.serves()
}

// serves tells that an object is healthy, or a claim that is to be bound by who uses
// it first: that one comes in a later step and would be waited for in vain.
func (o *object) serves() bool {
	h := o.condition().health
	return h == report.HealthHealthy || h == report.HealthProgressing && o.id.GroupKind() == claimKind && !o.terminating
}

// finish ends a delivery of which all is applied; e.mu is held.
func (e *Engine) finish(en *entry) {
	en.finished = true
	if en.installing {
		en.installing, en.installed = false, en.named
		e.unsaved[en.want.Key] = true
		e.wakeSave()
	}
	e.touch(en)
	e.wakeHooks(en)
	e.prune(en)
}

// free tells that the applications which an entry depends on are in sync and
// healthy here, as far as they are placed here.
func (e *Engine) free(en *entry) bool {
	en.holder = e.holderOf(en)
	return en.holder == ""
}

// holderOf is the first application that an entry has to wait for.
func (e *Engine) holderOf(en *entry) string {
	for _, name := range en.want.After {
		other, ok := e.entries[desired.Key{Project: en.want.Key.Project, Application: name}]
		if !ok || other == en || other.want.Withdrawn {
			continue
		}
		if s := e.stateOf(other); s.Entry != other.digest || !s.Well() {
			return name
		}
	}
	return ""
}

// bar keeps the list of entries that wait for others; e.mu is held.
func (e *Engine) bar(en *entry) {
	if en.stage == barred {
		e.barred[en.want.Key] = true
	} else {
		delete(e.barred, en.want.Key)
	}
}

// wakeBarred looks again at who waits for an application that may have changed;
// e.mu is held.
func (e *Engine) wakeBarred(changed desired.Key) {
	for key := range e.barred {
		en, ok := e.entries[key]
		if !ok {
			delete(e.barred, key)
			continue
		}
		if key.Project == changed.Project && slices.Contains(en.want.After, changed.Application) {
			e.queue.Add(task{entry: key}, ordinary)
		}
	}
}

// waitsFor says what a delivery waits for; empty when it does not.
func (e *Engine) waitsFor(en *entry) string {
	switch {
	case !en.prepared || !en.ordered() || en.want.Withdrawn:
		return ""
	case en.stage == barred:
		return fmt.Sprintf("app/%s, which is not yet in sync and healthy here", en.holder)
	}
	o := e.undone(en)
	if o == nil || o.stage == phase.Aside {
		return ""
	}
	return fmt.Sprintf("%s %s of %s%s", o.id.Kind, o.id.Name, en.steps[max(o.stage, 0)], o.awaits())
}
