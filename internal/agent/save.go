package agent

import (
	"context"
	"errors"
	"sync"
	"time"

	"atoll.dev/atoll/internal/clock"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/lease"
	"atoll.dev/atoll/internal/localstore"
)

const (
	// changesPause bounds how often the engine's states are asked for and
	// compared: while much is delivered they change all the time.
	changesPause = 200 * time.Millisecond
	// savePause keeps a save from running beside the very change that causes it.
	savePause = 200 * time.Millisecond
	// saveEvery is the least time between two saves: each is several writes to
	// the member, which would cost more than the small changes that cause them.
	// longestPause is how long one waits for a moment in which nothing changes.
	saveEvery    = time.Second
	longestPause = 2 * time.Second
	// saveRetry is how soon a failed save is tried again.
	saveRetry = 10 * time.Second
	// saveTimeout bounds one save: a member that hangs is asked anew.
	saveTimeout = time.Minute
	// lastSaveTimeout bounds the save of an agent that ends.
	lastSaveTimeout = 3 * time.Second
	// sweepEvery is how often the store is looked through; sweepAge spares what
	// another copy of this agent may be about to commit.
	sweepEvery = time.Hour
	sweepAge   = 10 * time.Minute
)

// run saves what changed and passes the engine's changes on. A store that
// hangs must not keep the reports back, so each has its own loop.
func (m *memory) run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { m.saving(ctx) })
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-m.engine.Changed():
			notify(m.changed)
			sleep(ctx, changesPause)
		}
	}
}

func (m *memory) saving(ctx context.Context) {
	retry := time.NewTimer(saveRetry)
	retry.Stop()
	sweep := time.NewTimer(0)
	defer sweep.Stop()
	var saved time.Time
	for {
		select {
		case <-ctx.Done():
			m.saveLast(ctx)
			return
		case <-m.dirty:
			m.settle(ctx, time.Until(saved.Add(saveEvery)))
			err := m.save(ctx)
			saved = time.Now()
			if err != nil {
				if ctx.Err() != nil {
					notify(m.dirty) // for the last save
				}
				retry.Reset(saveRetry)
			}
		case <-retry.C:
			notify(m.dirty)
		case <-sweep.C:
			m.sweep(ctx)
			sweep.Reset(sweepEvery)
		}
	}
}

// settle waits for rest, and then until nothing has changed for a moment.
func (m *memory) settle(ctx context.Context, rest time.Duration) {
	last := time.Now().Add(longestPause)
	for wait := max(rest, savePause); sleep(ctx, wait) && time.Now().Before(last); wait = savePause {
		select {
		case <-m.dirty:
		default:
			return
		}
	}
}

// saveLast stores what came in the last moment, for the agent that takes over.
// One that lost its turn has nothing to say any more.
func (m *memory) saveLast(ended context.Context) {
	if errors.Is(context.Cause(ended), lease.ErrLost) {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), lastSaveTimeout)
	defer cancel()
	select {
	case <-m.dirty:
		_ = m.save(ctx) // which logs it
	default:
	}
}

func (m *memory) save(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, saveTimeout)
	defer cancel()
	m.mu.Lock()
	snapshot, whole := m.durable()
	m.mu.Unlock()
	err := m.store.Save(ctx, snapshot)
	m.mu.Lock()
	before := m.saveErr
	switch {
	case err != nil:
		m.saveErr = err
	case whole:
		m.saveErr = nil
		fallthrough
	default:
		m.kept = snapshot.Root
		m.retain()
	}
	after := m.saveErr
	m.mu.Unlock()
	if err != nil {
		m.log.Error("what the hub asked for cannot be stored; it is enforced, but an agent that restarts without its hub only leaves it as it is", "err", err)
	}
	if (after == nil) != (before == nil) {
		notify(m.changed)
	}
	return err
}

// durable is what to store now, and whether it is all that is enforced. An
// entry whose content is still on its way is stored as it was before: an agent
// that restarts without its hub then enforces that, and not nothing. m.mu is held.
func (m *memory) durable() (s localstore.Snapshot, whole bool) {
	s.Seen, whole = m.stamp, true
	s.Contents, s.Values = m.contents.copies()
	if len(m.contents.missing(m.verdict.Effective.Contents())) == 0 {
		s.Root = m.verdict.Effective
		return s, true
	}
	entries := make([]desired.Entry, 0, len(m.verdict.Effective.Entries))
	for _, e := range m.verdict.Effective.Entries {
		if e.Content != "" && !e.Withdrawn && len(m.contents.missing([]desired.Digest{e.Content})) > 0 {
			whole = false
			if old, ok := m.kept.Get(e.Key); ok && old.UID == e.UID {
				e = old
			}
		}
		entries = append(entries, e)
	}
	s.Root, _ = desired.NewRoot(entries) // the keys of a root, each once
	return s, whole
}

// sweep removes what an agent killed in mid-save left behind, and writes again
// what somebody else removed.
func (m *memory) sweep(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, saveTimeout)
	defer cancel()
	whole, err := m.store.SweepStrays(ctx, clock.Now().Add(-sweepAge))
	if err != nil {
		m.log.Warn("the local store cannot be looked through", "err", err)
		return
	}
	if !whole {
		m.log.Warn("parts of the local store were removed; they are written again")
		notify(m.dirty)
	}
}
