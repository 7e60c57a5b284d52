package apply

import (
	"fmt"
	"math/rand/v2"
	"time"

	"atoll.dev/atoll/internal/desired"
)

// SyncNow has everything of an entry rendered and applied once more, without waiting
// for the next attempt after failures, and hooks that failed run again. In Report mode
// what others changed is put right this once; a pause holds. It changes nothing of what
// is asked for, so that twice is as good as once. It does not wait.
func (e *Engine) SyncNow(key desired.Key) error { return e.syncNow(key, false) }

// ForceNow is SyncNow, and objects whose change is refused because it touches what
// cannot be changed are deleted and made anew, as far as deletions are allowed here.
func (e *Engine) ForceNow(key desired.Key) error { return e.syncNow(key, true) }

func (e *Engine) syncNow(key desired.Key, force bool) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	en, ok := e.entries[key]
	if !ok {
		return fmt.Errorf("%s: %w", key, ErrUnknownEntry)
	}
	for _, o := range en.objects {
		o.tryAnew()
		o.calmUntil, o.fights = time.Time{}, 0
		switch {
		case o.hook != nil && o.ran() == runFailed:
			en.runs[o.id].Content = "" // with its content it begins again
			e.unsaved[key] = true
			e.wakeSave()
		case o.wanted() && o.hook == nil:
			o.again, o.forced = true, force
		}
		e.queue.Add(task{object: o.id}, ordinary)
	}
	e.forgetKinds(en)
	en.prepared, en.attempts = false, 0
	e.queue.Add(task{entry: key}, ordinary)
	e.touch(en)
	return nil
}

// spread lengthens a wait by up to a fifth, so that what failed together, as after an
// outage, is not tried again all at once.
func spread(d time.Duration) time.Duration { return d + rand.N(d/5+1) }

// tried tells people how often an object was tried, and when it is again.
func (o *object) tried() string {
	if o.spent() {
		return "" // the problem says so
	}
	return fmt.Sprintf(" (tried %d times, again at %s)", o.failures, o.notBefore.UTC().Format(time.RFC3339))
}
