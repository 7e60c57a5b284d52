package apply

import (
	"context"
	"errors"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/content"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/drift"
)

// What was applied and not recorded is not in the inventory: the agent died in
// between, or the answer to an apply was lost. Of that only what a content of
// the very entry names is looked for, and it counts as recorded when it carries
// the entry's own field manager. A label or a field manager alone never makes an
// object a candidate for deletion.

// ErrPending is why a content cannot be read that is still on its way.
var ErrPending = errors.New("it has not arrived yet")

// named is an object that a content names.
type named struct {
	id   ID
	kind kind
}

// doubts are the intents of which an earlier life of the agent may have applied
// something that no record tells; e.mu is held.
func (e *Engine) doubts(en *entry) []former {
	var out []former
	if f, ok := e.formers[en.want.Key]; ok {
		out = append(out, f)
	}
	return out
}

func deletes(withdrawn desired.Entry) bool { return withdrawn.Policy.OnDelete == v1alpha1.Delete }

// letGo prepares a withdrawn entry: once all that may be of it is named, it is
// withdrawn.
func (e *Engine) letGo(ctx context.Context, en *entry, want desired.Entry, digest desired.Digest) {
	names, err := e.namesToDelete(ctx, en, want)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.entries[want.Key] != en || en.digest != digest {
		return
	}
	if err != nil {
		e.retryPrepare(en, firstRetry, lastRetry)
		return
	}
	e.doubt(en, names)
	en.named, en.recalled = want.Content, e.recalled[want.Key]
	en.hold()
	e.withdraw(en)
}

// namesToDelete fails while something may still come that names more.
func (e *Engine) namesToDelete(ctx context.Context, en *entry, want desired.Entry) ([]named, error) {
	if !deletes(want) {
		return nil, nil // it is let go unseen
	}
	e.mu.Lock()
	doubts, bundles, known := e.doubts(en), e.bundles, want.Content == "" || want.Content == en.named
	e.mu.Unlock()
	if !known {
		bundle, err := bundles(want.Content)
		switch {
		case errors.Is(err, ErrPending):
			return nil, err
		case err != nil:
			e.log.Warn("the content of a withdrawn application cannot be read; only what is recorded is deleted", "application", want.Key, "error", err)
		}
		doubts = append(doubts, former{want: want, bundle: bundle})
	}
	return e.names(ctx, doubts)
}

// names are the objects that contents name and the project may own.
func (e *Engine) names(ctx context.Context, contents []former) ([]named, error) {
	var out []named
	for _, c := range contents {
		for i := range c.bundle.Objects {
			n, ok, err := e.nameOf(ctx, &c.bundle.Objects[i], c.want)
			if err != nil {
				return nil, err
			}
			if ok {
				out = append(out, n)
			}
		}
	}
	return out, nil
}

// nameOf is false for what cannot have been applied: a kind that is not served,
// or what the policy refuses.
func (e *Engine) nameOf(ctx context.Context, source *content.Object, want desired.Entry) (named, bool, error) {
	k, err := e.kinds.Find(ctx, gvkOf(source.Ref))
	if errors.Is(err, errNoKind) {
		return named{}, false, nil
	}
	if err != nil {
		return named{}, false, err
	}
	noValues := func(string) ([]byte, error) { return nil, nil } // a name needs none
	obj, err := renderOne(source, want, k, noValues)
	if err != nil || len(refusals(want, obj, k, true)) > 0 {
		return named{}, false, nil //nolint:nilerr // what does not render was never applied
	}
	return named{id: idOf(obj), kind: k}, true, nil
}

// doubt takes names up that nothing is known of; e.mu is held.
func (e *Engine) doubt(en *entry, names []named) {
	delete(e.formers, en.want.Key)
	for _, n := range names {
		if _, known := e.objects[n.id]; known {
			continue
		}
		o := &object{id: n.id, ref: n.id.Ref(n.kind.gvk.Version), kind: n.kind, entry: en, firstSeen: e.clock()}
		en.objects[n.id], e.objects[n.id] = o, o
	}
}

// startTraces begins to look for what is not wanted and may have been applied, and
// tells whether there is such; e.mu is held.
func (e *Engine) startTraces(en *entry) bool {
	if en.want.Withdrawn && !deletes(en.want) {
		return false // it is let go unseen
	}
	waits := false
	for id, o := range en.objects {
		if o.wanted() || o.rec != nil {
			continue
		}
		waits, o.doubtful = true, true
		if !o.busy {
			e.queue.Add(task{object: id}, ordinary)
		}
	}
	return waits
}

// lookFor reads a doubtful object: with our field manager it is as good as recorded.
func (e *Engine) lookFor(ctx context.Context, j job) outcome {
	live, err := e.clients.get(ctx, j.target)
	switch {
	case apierrors.IsNotFound(err):
		return outcome{foreign: true}
	case err != nil:
		return e.failed(ctx, j, err)
	case drift.EntryHashOf(live.Object, j.manager) == 0, controlled(live):
		return outcome{foreign: true}
	}
	return outcome{rec: &record{ID: j.target.id, Version: j.target.kind.gvk.Version, UID: string(live.GetUID())}}
}
