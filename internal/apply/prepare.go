package apply

import (
	"context"
	"fmt"
	"time"

	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/drift"
	"atoll.dev/atoll/internal/report"
)

// prepare turns an entry into objects to work on: gather, then swap them in.
func (e *Engine) prepare(ctx context.Context, key desired.Key) {
	e.mu.Lock()
	en, ok := e.entries[key]
	if !ok || en.prepared {
		if ok {
			e.advance(en) // what it waits for may have come
		}
		e.mu.Unlock()
		return
	}
	want, digest, bundles, values := en.want, en.digest, e.bundles, e.values
	doubts := e.doubts(en)
	e.mu.Unlock()
	if want.Withdrawn {
		e.letGo(ctx, en, want, digest)
		return
	}

	r, rules, problems, retry := e.gather(ctx, want, bundles, values)
	before, err := e.names(ctx, doubts)
	if err != nil && len(problems) == 0 {
		problems, retry = wholeEntry(want, "ApplyFailed", err), true
	}

	e.mu.Lock()
	defer e.mu.Unlock()
	if e.entries[key] != en || en.digest != digest {
		return // the intent changed meanwhile; its own task is queued
	}
	en.problems, en.refused = problems, len(problems) > 0 && !retry
	e.touch(en)
	if len(problems) > 0 {
		// What was prepared before stays enforced, and nothing is pruned.
		if retry {
			e.retryPrepare(en, firstRetry, lastRetry)
		}
		return
	}
	e.doubt(en, before)
	e.take(en, r, rules)
}

// Waits between attempts to prepare.
const firstRetry, lastRetry = 200 * time.Millisecond, 30 * time.Second

// wholeEntry is a problem of no single object.
func wholeEntry(want desired.Entry, reason string, err error) []report.Problem {
	return []report.Problem{{Object: report.ObjectRef{Kind: "Application", Name: want.Key.Application}, Reason: reason, Message: clip(err.Error())}}
}

// gather does all that needs the member or the store. retry tells whether the
// problems may pass by themselves.
func (e *Engine) gather(ctx context.Context, want desired.Entry, bundles Bundles, values Values) (r rendering, rules entryRules, problems []report.Problem, retry bool) {
	whole := func(reason string, err error) []report.Problem {
		return wholeEntry(want, reason, err)
	}
	rules, err := compileRules(want.Policy)
	if err != nil {
		return r, rules, whole("Invalid", err), false
	}
	bundle, err := bundles(want.Content)
	if err != nil {
		return r, rules, whole("ContentMissing", err), true
	}
	if r, err = e.render(ctx, want, bundle, values); err != nil {
		return r, rules, whole("ApplyFailed", err), true
	}
	if len(r.problems) > 0 {
		return r, rules, r.problems, r.problems[0].Reason == "Invalid" // a value may still arrive
	}
	e.watchScalers(ctx)
	if err := e.ensureAccess(ctx, want, r.objects); err != nil {
		return r, rules, whole("ApplyFailed", err), true
	}
	return r, rules, nil, false
}

func compileRules(p desired.Policy) (entryRules, error) {
	ignore, err := drift.CompileRules(p.Ignore)
	if err != nil {
		return entryRules{}, fmt.Errorf("read drift.ignore: %w", err)
	}
	exact, err := drift.CompileRules(p.Exact)
	if err != nil {
		return entryRules{}, fmt.Errorf("read drift.exact: %w", err)
	}
	health, err := compileHealth(p.Health)
	if err != nil {
		return entryRules{}, fmt.Errorf("read health rules: %w", err)
	}
	return entryRules{ignore: ignore, exact: exact, health: health}, nil
}

// take swaps a rendering in and queues what it needs; e.mu is held.
func (e *Engine) take(en *entry, r rendering, rules entryRules) {
	en.prepared, en.taken, en.rules, en.heldWhy, en.defined = true, en.digest, rules, "", false
	en.stuck = false
	en.named, en.recalled = en.want.Content, e.recalled[en.want.Key]
	en.hold()
	en.waiting, en.left = map[ID]report.ObjectRef{}, [2]int{}
	e.lay(en, r)
	e.unmap(en, r.unmapped)
	wanted := map[ID]bool{}
	for i := range r.objects {
		item := &r.objects[i]
		wanted[item.id] = true
		if e.claim(en, item) && item.stage <= en.stage {
			en.left[item.id.phase()]++
		}
	}
	for id, o := range en.objects {
		if !wanted[id] {
			o.source, o.body, o.problem, o.hook, o.again = nil, nil, nil, nil, false
		}
	}
	en.judgeRuns()
	en.trimRuns()
	e.scalersChanged(en, r.objects)
	if len(en.unmapped) > 0 {
		e.awaitKinds(en)
	}
	e.release(en)
	e.wakeHooks(en)
}

// claim makes the entry the owner of one object, unless another is.
func (e *Engine) claim(en *entry, item *rendered) bool {
	o, ok := e.objects[item.id]
	if ok && o.entry != en {
		if o.wanted() || !o.entry.prepared || o.remove {
			en.waiting[item.id], en.absent[item.id] = item.ref, item.stage
			return false
		}
		former := o.entry
		e.drop(former, item.id)
		if o.rec != nil {
			e.heirs[item.id] = FieldManager(former.want.Key)
		}
		e.touch(former)
		e.touchWaiting(item.id)
		ok = false
	}
	if !ok {
		o = &object{id: item.id, entry: en, firstSeen: e.clock()}
		en.objects[item.id], e.objects[item.id] = o, o
	}
	o.ref, o.kind, o.source, o.want = item.ref, item.kind, item.source, item.hash
	o.body = item.body
	if o.rec != nil && o.rec.Accepted == o.want {
		o.body = nil
	}
	o.exact, o.options = en.rules.exact.For(o.id.GroupKind(), o.id.Name), item.options
	e.keepAsAsked(o)
	o.blocked = e.member.limits.refuses(o.id)
	o.spared = ""
	o.remove, o.deleting, o.attempted, o.doubtful, o.weighed, o.stays = false, false, false, false, false, false
	o.stage, o.hook = item.stage, nil
	if item.mark.Hook || item.mark.LeftOut != "" {
		mark := item.mark // by itself: item holds the rendered manifest
		o.hook, o.body = &mark, nil
		en.hooks = append(en.hooks, o)
		en.inherit(o)
		o.recheck = o.recheck || o.ran() == runMade // it may have ended while another content counted
	}
	o.tryAnew()
	e.repause(o)
	e.watchKind(item.kind, o.id.Namespace, en.rules.health.has(o.id.GroupKind()))
	return true
}

// touchWaiting has those who wait for an object say who owns it now.
func (e *Engine) touchWaiting(id ID) {
	for _, en := range e.entries {
		if _, waits := en.waiting[id]; waits {
			e.touch(en)
		}
	}
}

// release queues the next phase that has something left, and prunes when all
// is applied; e.mu is held.
func (e *Engine) release(en *entry) {
	e.touch(en)
	for phase := range en.left {
		if en.left[phase] == 0 {
			continue
		}
		for id, o := range en.objects {
			if o.wanted() && !o.attempted && id.phase() == phase && o.stage <= en.stage {
				e.queue.Add(task{object: id}, ordinary)
			}
		}
		return
	}
	if len(en.unmapped) == 0 && en.applied() {
		e.prune(en)
	}
	e.advance(en)
}

// attempted counts an object of a delivery; the last of a phase starts the next.
func (e *Engine) attempted(o *object) {
	if o.attempted || !o.wanted() || !o.entry.prepared || o.stage > o.entry.stage {
		return
	}
	o.attempted = true
	en := o.entry
	phase := o.id.phase()
	if en.left[phase]--; en.left[phase] > 0 {
		return
	}
	if phase == 0 && len(en.unmapped) > 0 && en.defined {
		// The definitions are there now: map what waits for them. Those that were
		// there before would only have it prepared again and again.
		e.forgetKinds(en)
		en.prepared, en.attempts = false, 0
		e.queue.Add(task{entry: en.want.Key}, ordinary)
	}
	e.release(en)
}

// unmap keeps what no kind was found for, and since when.
func (e *Engine) unmap(en *entry, refs map[ID]report.ObjectRef) {
	en.unmapped = refs
	switch {
	case len(refs) == 0:
		en.unmappedSince = time.Time{}
	case en.unmappedSince.IsZero():
		en.unmappedSince = e.clock()
	}
}

// awaitKinds tries again when a definition appears, and from time to time.
func (e *Engine) awaitKinds(en *entry) {
	e.watchDefinitions()
	e.forgetKinds(en)
	delay := backoff(en.attempts, 200*time.Millisecond, 30*time.Second)
	en.attempts++
	t := task{entry: en.want.Key}
	time.AfterFunc(delay, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.entries[en.want.Key] == en && en.prepared && len(en.unmapped) > 0 {
			en.prepared = false
			e.queue.Add(t, ordinary)
		}
	})
}

func (e *Engine) forgetKinds(en *entry) {
	for id := range en.unmapped {
		e.kinds.Forget(id.Group)
	}
}

// definitionAppeared prepares again whoever waits for a kind of the group.
func (e *Engine) definitionAppeared(group string) {
	e.kinds.Forget(group)
	for key, en := range e.entries {
		for id := range en.unmapped {
			if id.Group == group && en.prepared {
				en.prepared, en.attempts = false, 0
				e.queue.Add(task{entry: key}, ordinary)
				break
			}
		}
	}
}

// rescope recomputes what is given up in one object and queues it if needed.
func (e *Engine) rescope(o *object) {
	gk := o.id.GroupKind()
	paths := append(o.entry.rules.ignore.For(gk, o.id.Name), o.options.Ignore...)
	paths = append(paths, e.member.governed(o.id)...)
	hash := hashPaths(paths)
	if hash == o.giveUpHash {
		return
	}
	o.giveUp, o.giveUpHash = paths, hash
	if o.wanted() && o.attempted {
		e.queue.Add(task{object: o.id}, ordinary)
	}
}
