package apply

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"atoll.dev/atoll/internal/content"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/drift"
)

// A recalled entry comes from the agent's memory, and no hub has confirmed it
// since the agent began. What was applied last may be later than what was
// stored: the store was full, or the agent died before it wrote. So that nothing
// goes back unasked,
//   - an object is held against what was recorded before it is written. Where it
//     shows a later hand of our own, the whole entry is left as it is;
//   - what is missing is made only after a while: it may have been deleted on
//     purpose;
//   - nothing is deleted.
//
// The hub's first word ends all three, as soon as the content that it asks for is
// there: until then the objects stand for what was recalled.

// patienceForHub is how long the hub has to speak before what is missing is made
// on the strength of memory alone.
const patienceForHub = 15 * time.Second

// former is an intent that was recalled and replaced before it was prepared: an
// earlier life of the agent may have applied objects of it and recorded none.
type former struct {
	want   desired.Entry
	bundle content.Bundle
}

// keepFormer notes the recalled intents that next replaces; e.mu is held.
func (e *Engine) keepFormer(next desired.Root) {
	for key := range e.recalled {
		old, _ := e.root.Get(key)
		now, stays := next.Get(key)
		en := e.entries[key]
		if !stays || now.UID != old.UID || now.Content == old.Content || old.Content == "" || old.Withdrawn || en != nil && en.taken != "" {
			continue
		}
		bundle, err := e.bundles(old.Content)
		if err != nil {
			e.log.Warn("what was asked before cannot be read; what was applied of it and never recorded stays", "application", key, "error", err)
			continue
		}
		e.formers[key] = former{want: old, bundle: bundle}
	}
}

// confirm ends what being recalled held back: the hub asks for the same. e.mu is held.
func (e *Engine) confirm(en *entry) {
	en.recalled = false
	e.prune(en)
	for id, o := range en.objects {
		if s := o.next(e.clock()); s != idle {
			e.queue.Add(task{object: id}, s.priority())
		}
	}
}

// hold leaves a recalled entry as it is whose records are of a later intent: the
// inventory was stored, and the root was not. One that was found to be overtaken
// stays so until the hub speaks, however often it is prepared. e.mu is held.
func (en *entry) hold() {
	behind := en.recalled && (en.overtaken || en.generation > en.want.Generation)
	if en.overtaken && !behind {
		en.catchUp()
	}
	if en.overtaken = behind; !behind {
		en.generation = en.want.Generation
	}
}

// catchUp makes every object of an entry that was overtaken due, now that the hub
// has spoken: what the API server accepted last is not what was recorded.
func (en *entry) catchUp() {
	for _, o := range en.objects {
		if o.rec != nil {
			rec := *o.rec
			rec.Accepted = 0
			o.rec, o.drift = &rec, nil
		}
	}
}

// weigh holds a live object against the record and what is asked, before a
// recalled entry writes it.
func (e *Engine) weigh(ctx context.Context, j job) outcome {
	live, err := e.clients.get(ctx, j.target)
	switch {
	case apierrors.IsNotFound(err):
		return outcome{absent: true}
	case err != nil:
		return e.failed(ctx, j, err)
	}
	s := sightingOf(live, j.manager)
	out := outcome{seen: &s}
	switch rec := j.object.rec; {
	// That its entry is the recorded one is not enough: an entry's time has whole
	// seconds, and a second apply within one may differ in values alone.
	case s.entry == 0:
		return out
	case rec != nil && !rec.Baseline.Empty():
		if later, err := drift.Later(rec.Baseline, live, j.manager, j.object.giveUp); err != nil || !later {
			return out // an unreadable baseline is taken anew, as without memory
		}
	}
	body, _, err := j.body(j.object.giveUp)
	if err != nil {
		return outcome{err: err}
	}
	next, err := e.clients.dryRun(ctx, j.target, body, j.manager)
	if err != nil {
		return e.failed(ctx, j, err)
	}
	if out.later, err = drift.Rewrites(live, next, j.manager); err != nil {
		return outcome{err: err}
	}
	return out
}

// weighed takes the result; e.mu is held.
func (e *Engine) weighed(o *object, out outcome) {
	en := o.entry
	o.succeed()
	o.weighed, o.seen = true, true
	if o.rec != nil {
		o.missing = out.absent
	}
	if out.later && en.recalled {
		en.overtaken = true
		e.attempted(o)
		e.touch(en)
		e.log.Warn("what runs here is newer than what was stored; it stays as it is until the hub has spoken", "application", en.want.Key, "object", o.id.String())
	}
	if out.seen != nil {
		e.observe(o, *out.seen)
	}
}
