package apply

import (
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/drift"
)

func sightingOf(obj *unstructured.Unstructured, manager string) sighting {
	return sighting{meta: obj, full: obj.Object, entry: drift.EntryHashOf(obj.Object, manager)}
}

// saw takes an event of a watch.
func (e *Engine) saw(id ID, obj metav1.Object, deleted bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	o, ok := e.objects[id]
	if !ok {
		return
	}
	s := sighting{meta: obj, deleted: deleted}
	manager := FieldManager(o.entry.want.Key)
	if full, ok := obj.(*unstructured.Unstructured); ok {
		s.full, s.entry = full.Object, drift.EntryHashOf(full.Object, manager)
	} else {
		s.entry = drift.EntryHash(obj.GetManagedFields(), manager)
	}
	if o.busy {
		// Our own write may be the cause: judge when its response is known.
		if o.stash == nil || !older(obj.GetResourceVersion(), o.stash.meta.GetResourceVersion()) {
			o.stash = &s
		}
		return
	}
	e.observe(o, s)
}

// observe judges a live state of an object and queues what it needs; e.mu is
// held and the object is not busy.
func (e *Engine) observe(o *object, s sighting) {
	if older(s.meta.GetResourceVersion(), o.version) {
		return
	}
	uid := string(s.meta.GetUID())
	switch {
	case s.deleted && o.hook != nil:
		e.hookDeleted(o, s)
		return
	case s.deleted:
		e.vanished(o, uid)
		return
	}
	first := !o.seen
	o.version, o.seen, o.missing, o.vanished = s.meta.GetResourceVersion(), true, false, false
	if uid != o.uid {
		o.uid, o.firstSeen = uid, e.clock()
	}
	o.terminating = s.meta.GetDeletionTimestamp() != nil
	o.ownPause = pauseAnnotation(s.meta.GetAnnotations())
	e.repause(o)
	if o.hook != nil {
		e.observeHook(o, s)
		return
	}
	if o.rec == nil {
		o.unrecorded = s.entry != 0
		return
	}
	o.replaced = uid != o.rec.UID
	e.compare(o, s)
	e.judge(o, s)
	e.touch(o.entry)
	switch next := o.next(e.clock()); {
	case next != idle:
		e.queue.Add(task{object: o.id}, next.priority())
	case o.problem != nil && o.applied() && !o.drifted():
		o.succeed() // what could not be put right is as it should be again
	}
	if first && o.entry.applied() {
		e.prune(o.entry) // after a restart nothing else may happen
	}
	e.advance(o.entry)
}

// vanished takes a deletion. A watch that selects by label also says deleted
// when only the label went; recreate tells which.
func (e *Engine) vanished(o *object, uid string) {
	if o.rec == nil || uid != "" && uid != o.rec.UID && uid != o.uid {
		return
	}
	o.terminating = false
	if o.wanted() && !o.remove && len(o.giveUp) == 0 {
		o.vanished = true // what is given up must not be reset unseen
	} else {
		o.recheck = true
	}
	if o.deleting {
		o.notBefore = time.Time{}
	}
	e.touch(o.entry)
	if next := o.next(e.clock()); next != idle {
		e.queue.Add(task{object: o.id}, next.priority())
	}
}

// compare finds drift: by ownership alone when that tells, else by values.
func (e *Engine) compare(o *object, s sighting) {
	o.regain = false
	untouched := o.rec.Baseline.Untouched(s.entry)
	if untouched && len(o.exact) == 0 && !o.replaced {
		o.drift, o.additions = nil, false
		return
	}
	if s.full == nil {
		o.recheck = true
		return
	}
	live := &unstructured.Unstructured{Object: s.full}
	manager := FieldManager(o.entry.want.Key)
	if !o.rec.Baseline.Empty() {
		changes, err := drift.Compare(o.rec.Baseline, live, manager, o.giveUp)
		if err != nil {
			e.log.Error("a baseline is unreadable and is taken anew", "object", o.id.String(), "error", err)
			o.rec.Baseline = drift.Baseline{}
		}
		o.drift = changes
	}
	added, err := drift.Additions(live, manager, o.exact, o.giveUp)
	if err != nil {
		e.log.Warn("additions cannot be read", "object", o.id.String(), "error", err)
	}
	o.additions = len(added) > 0
	if reports(o.entry.want.Policy) {
		for _, a := range added {
			o.drift = append(o.drift, a.Change)
		}
	}
	// Our hold on a field went although its value is right: take it back, or
	// its next change would go unseen.
	o.regain = !untouched && !o.rec.Baseline.Partial && len(o.drift) == 0 && !o.replaced && o.corrects(e.clock())
}

// judge keeps the health of what was seen.
func (e *Engine) judge(o *object, s sighting) {
	if s.full == nil {
		o.health = silentlyHealthy(o.terminating)
		return
	}
	o.health, o.judgeAt = assess(s.full, o.entry.rules.health, o.firstSeen, e.clock())
	if !o.judgeAt.IsZero() {
		e.queue.AddAfter(task{object: o.id}, ordinary, max(o.judgeAt.Sub(e.clock()), 0)+time.Second)
	}
}

// repause reads the pause annotations of the object and its namespace.
func (e *Engine) repause(o *object) {
	o.pause = drift.PauseOf(o.ownPause, e.member.pauses[o.id.Namespace], e.clock(), o.entry.want.Policy.ForbidPause)
	if wait := o.pause.Until.Sub(e.clock()); wait > 0 {
		e.queue.AddAfter(task{object: o.id}, urgent, wait)
	}
}

// resume tells of a pause that ended with nothing to put right. Where it holds, what
// had the object looked at now may have come in the place of its end.
func (e *Engine) resume(o *object, now time.Time) {
	switch {
	case o.pause.Until.IsZero():
	case o.pause.Holds(now):
		e.queue.AddAfter(task{object: o.id}, urgent, o.pause.Until.Sub(now))
	default:
		o.pause.Until = time.Time{}
		e.touch(o.entry)
	}
}

// pauseAnnotation keeps just the one annotation that matters.
func pauseAnnotation(all map[string]string) map[string]string {
	text, ok := all[v1alpha1.AnnotationPauseUntil]
	if !ok {
		return nil
	}
	return map[string]string{v1alpha1.AnnotationPauseUntil: text}
}

// older compares resource versions of one object, which are numbers that grow
// (KEP-5504); what is not a number is never older.
func older(a, b string) bool {
	x, errX := strconv.ParseUint(a, 10, 64)
	y, errY := strconv.ParseUint(b, 10, 64)
	return errX == nil && errY == nil && x < y
}
