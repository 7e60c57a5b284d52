package hubapp

import (
	"context"
	"sync/atomic"
	"time"

	"atoll.dev/atoll/internal/apply"
	"atoll.dev/atoll/internal/content"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/localstore"
	"atoll.dev/atoll/internal/placement"
	"atoll.dev/atoll/internal/report"
)

// delivery is a Runner at work.
type delivery struct {
	*Runner
	engine *apply.Engine
	store  *localstore.Store
	// kept is what is delivered: what the Book says, and where that cannot tell
	// now what it said before. stored is false while it is not in the store.
	kept, announced desired.Root
	unstored        bool
	// lacking is set while content could not be read.
	lacking atomic.Bool
}

// settle lets the changes of one moment be one report.
const settle = 100 * time.Millisecond

// keep follows the Book and reports until the engine has ended.
func (d *delivery) keep(ctx context.Context, ended <-chan error) {
	tick := time.NewTicker(d.Heartbeat)
	defer tick.Stop()
	again := time.NewTicker(retry)
	defer again.Stop()
	d.Fleet.Connect(placement.Hub, d.Now())
	d.follow(ctx)
	for {
		select {
		case err := <-ended:
			if err != nil && ctx.Err() == nil {
				d.Log.Error("nothing is delivered to the hub itself any more; start it again", "err", err)
			}
			return
		case <-d.changed:
			d.follow(ctx)
		case <-d.engine.Changed():
			sleep(ctx, settle)
			d.report()
		case <-tick.C:
			d.Fleet.Heard(placement.Hub, d.Now(), d.announced.Digest(), 0)
		case <-again.C:
			if d.unstored || d.lacking.Swap(false) {
				d.follow(ctx)
			}
		}
	}
}

// follow has the engine converge towards what the Book says, and stores that.
func (d *delivery) follow(ctx context.Context) {
	d.announced = d.Book.Root(placement.Hub)
	next := obeyed(d.kept, d.announced)
	d.unstored = d.unstored || next.Digest() != d.kept.Digest()
	d.kept = next
	projects := map[desired.Digest]string{}
	for _, e := range next.Entries {
		projects[e.Content] = e.Key.Project
	}
	d.engine.SetRoot(ctx, next, func(digest desired.Digest) (content.Bundle, error) {
		b, err := d.Contents.Bundle(ctx, projects[digest], digest)
		if err != nil {
			d.lacking.Store(true)
		}
		return b, err
	}, noValues)
	d.Fleet.Heard(placement.Hub, d.Now(), d.announced.Digest(), 0)
	d.report()
	if !d.unstored {
		return
	}
	if err := d.store.Save(ctx, localstore.Snapshot{Root: next}); err != nil {
		if ctx.Err() == nil {
			d.Log.Warn("what is delivered to the hub itself cannot be stored; a hub that starts works it out again", "err", err)
		}
		return
	}
	d.unstored = false
}

func (d *delivery) report() {
	now := d.Now()
	if !d.Fleet.Report(placement.Hub, reportOf(answered(d.engine.States(), d.announced), now), now) {
		d.Log.Error("what is delivered to the hub itself cannot be told", "applications", len(d.announced.Entries))
	}
}

// obeyed is what the Book announces, where an entry that asks to keep what is there
// stands for the one before.
func obeyed(have, announced desired.Root) desired.Root {
	entries := make([]desired.Entry, 0, len(announced.Entries))
	for _, e := range announced.Entries {
		if e.Hold {
			old, had := have.Get(e.Key)
			if !had || old.UID != e.UID {
				continue // there is nothing to keep
			}
			e = old
		}
		entries = append(entries, e)
	}
	root, _ := desired.NewRoot(entries) // keys of a root, each once
	return root
}

// answered are the states with the digests that the Book knows its entries by.
func answered(states map[desired.Key]report.State, announced desired.Root) map[desired.Key]report.State {
	for k, s := range states {
		if e, ok := announced.Get(k); ok && e.Hold {
			s.Entry = e.Digest()
			states[k] = s
		}
	}
	return states
}
