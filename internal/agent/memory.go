package agent

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"atoll.dev/atoll/internal/apply"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/localstore"
	"atoll.dev/atoll/internal/report"
	"atoll.dev/atoll/internal/wire"
)

// engine is what memory needs of internal/apply.
type engine interface {
	SetRoot(_ context.Context, _ desired.Root, _ apply.Bundles, _ apply.Values, recalled ...desired.Key)
	States() map[desired.Key]report.State
	Changed() <-chan struct{}
}

// store is what memory needs of internal/localstore.
type store interface {
	Load(context.Context) (localstore.Snapshot, error)
	Save(context.Context, localstore.Snapshot) error
	SweepStrays(context.Context, time.Time) (whole bool, err error)
}

// memory is what the agent has been told: the root it enforces and whose word
// that was. It survives in the local store, so that a restarted agent goes on
// without the hub.
//
// mu is taken before the engine's lock, never after: what the engine calls
// back lies in contents.
type memory struct {
	store    store
	engine   engine
	contents *contents
	log      *slog.Logger

	mu        sync.Mutex
	stamp     wire.Stamp
	announced desired.Root
	digest    desired.Digest // of announced
	verdict   verdict
	// recalled are the entries that were stored, and of which no hub has said
	// anything since this agent began: they may be older than what runs.
	recalled map[desired.Key]bool
	// kept is the root in the local store; what it is made of stays here until
	// a later one is stored whole.
	kept    desired.Root
	saveErr error

	dirty   chan struct{}
	changed chan struct{}
}

func newMemory(contents *contents, store store, engine engine, log *slog.Logger) *memory {
	return &memory{
		store: store, engine: engine, contents: contents, log: log,
		verdict: verdict{Follow: true},
		digest:  desired.Root{}.Digest(),
		dirty:   make(chan struct{}, 1), changed: make(chan struct{}, 1),
	}
}

// load enforces what was enforced before, before the hub is even dialled.
func (m *memory) load(ctx context.Context) error {
	var snapshot localstore.Snapshot
	var err error
	for wait := time.Second; ; wait = min(2*wait, 30*time.Second) {
		if snapshot, err = m.store.Load(ctx); err == nil {
			break
		}
		m.log.Warn("the local store cannot be read yet", "err", err)
		if !sleep(ctx, wait) {
			return fmt.Errorf("read the local store: %w", err)
		}
	}
	for _, damage := range snapshot.Damaged {
		m.log.Error("the local store is damaged; what it held before, or holds still, is enforced", "damage", damage)
	}
	m.contents.restore(snapshot.Contents, snapshot.Values)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stamp = snapshot.Seen
	m.verdict.Effective, m.kept = snapshot.Root, snapshot.Root
	m.announced, m.digest = snapshot.Root, snapshot.Root.Digest()
	m.recalled = map[desired.Key]bool{}
	for _, e := range snapshot.Root.Entries {
		m.recalled[e.Key] = true
	}
	if m.told() {
		m.enforce()
	}
	return nil
}

// told tells whether a hub was ever followed; m.mu is held.
func (m *memory) told() bool { return m.stamp.Incarnation != "" }

// enforcing tells whether the agent has been told anything by a hub.
func (m *memory) enforcing() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.told()
}

// seen is whom the agent obeys and what was announced last.
func (m *memory) seen() (wire.Stamp, desired.Digest) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.stamp, m.digest
}

// announce takes a change of the hub's, with contents that came with it, and
// enforces what of it is obeyed.
func (m *memory) announce(d desired.Delta, from wire.Stamp, accepted string, brought ...*wire.Content) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	next, err := d.Apply(m.announced)
	if err != nil {
		return err
	}
	m.announced, m.digest = next, d.Target
	m.receive(brought)
	m.obey(from, accepted)
	return nil
}

// receive keeps what nobody asked for, if it is needed and true. What is not is
// as good as missing: it is asked for, and the answer tells why; m.mu is held.
func (m *memory) receive(brought []*wire.Content) {
	needed := m.announced.Contents()
	for _, c := range brought {
		whole := assembly{limit: maxContent}
		whole.begin([]desired.Digest{c.Digest})
		done, err := whole.add(c)
		if err == nil && done != nil && slices.Contains(needed, c.Digest) {
			err = m.contents.keep(done.digest, done.data, done.values)
		}
		if err != nil {
			m.log.Warn("content that came with a change cannot be used", "digest", c.Digest.Short(), "err", err)
		}
	}
}

// obey judges what is announced and enforces what of it is obeyed; m.mu is held.
func (m *memory) obey(from wire.Stamp, accepted string) {
	m.verdict = judge(m.verdict.Effective, m.announced, m.stamp, from, accepted)
	if m.verdict.Follow {
		m.stamp = wire.Stamp{Incarnation: from.Incarnation, Term: from.Term}
	}
	m.heard()
	m.retain()
	m.enforce()
	notify(m.dirty)
	notify(m.changed)
}

// heard notes that the hub has spoken of all entries but those of which it
// cannot tell, or which are held against its word; m.mu is held.
func (m *memory) heard() {
	for k := range m.recalled {
		e, announced := m.announced.Get(k)
		if _, held := m.verdict.Held[k]; !held && (!announced || !e.Hold) {
			delete(m.recalled, k)
		}
	}
}

// retain drops the contents that no root needs any more; m.mu is held.
func (m *memory) retain() {
	m.contents.retain(m.announced.Contents(), m.verdict.Effective.Contents(), m.kept.Contents())
}

// confirm hears from a hub whose root is held already. A person's word that
// came since, or a restored hub that asks for just what is here, needs no
// other change to be followed.
func (m *memory) confirm(from wire.Stamp, accepted string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case !from.Succeeds(m.stamp):
		if accepted == from.Incarnation || len(m.verdict.Held) == 0 {
			m.obey(from, accepted)
		}
	case from.Term > m.stamp.Term || !m.told():
		m.stamp = wire.Stamp{Incarnation: from.Incarnation, Term: from.Term}
		notify(m.dirty)
	}
	if before := len(m.recalled); before > 0 {
		if m.heard(); len(m.recalled) < before {
			m.enforce()
		}
	}
}

// enforce hands the effective root to the engine; m.mu is held.
func (m *memory) enforce() {
	m.engine.SetRoot(context.Background(), m.verdict.Effective, m.contents.bundle, m.contents.value, slices.Collect(maps.Keys(m.recalled))...)
}

// keep takes a content that has arrived.
func (m *memory) keep(c *assembled) error {
	if err := m.contents.keep(c.digest, c.data, c.values); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.enforce()
	notify(m.dirty)
	return nil
}

// failed notes why a content is not there.
func (m *memory) failed(d desired.Digest, err error) {
	m.contents.fail(d, err)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.enforce()
	notify(m.changed)
}

// missing are the contents that the effective root needs and that are not here.
func (m *memory) missing() []desired.Digest {
	m.mu.Lock()
	needed := m.verdict.Effective.Contents()
	m.mu.Unlock()
	return m.contents.missing(needed)
}

// states are the engine's, with what is held.
func (m *memory) states() map[desired.Key]report.State {
	m.mu.Lock()
	announced, v, saveErr := m.announced, m.verdict, m.saveErr
	m.mu.Unlock()
	states := overlay(m.engine.States(), announced, v)
	if saveErr == nil {
		return states
	}
	for k, s := range states {
		s.Problems = slices.Insert(slices.Clone(s.Problems), 0, report.Problem{
			Object: report.ObjectRef{Kind: "Application", Name: k.Application}, Reason: "StoreFull", Message: saveErr.Error(),
		})
		states[k] = s.Bounded()
	}
	return states
}

// changes delivers a value after states may have changed.
func (m *memory) changes() <-chan struct{} { return m.changed }

func (m *memory) nudge() { notify(m.changed) }

func notify(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
