package agent

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"atoll.dev/atoll/internal/apply"
	"atoll.dev/atoll/internal/content"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/localstore"
	"atoll.dev/atoll/internal/report"
	"atoll.dev/atoll/internal/seal"
	"atoll.dev/atoll/internal/wire"
)

// memory is what the agent has been told: the root it enforces, what it is
// made of, and whose word that was. It survives in the local store, so that a
// restarted agent goes on without the hub.
type memory struct {
	cluster string
	key     seal.Key
	store   *localstore.Store
	engine  *apply.Engine
	log     *slog.Logger

	mu        sync.Mutex
	stamp     wire.Stamp
	announced desired.Root
	digest    desired.Digest // of announced
	verdict   verdict
	contents  map[desired.Digest][]byte
	sealed    map[string][]byte
	failures  map[desired.Digest]error
	saveErr   error

	dirty   chan struct{}
	changed chan struct{}
}

func newMemory(cluster string, key seal.Key, store *localstore.Store, engine *apply.Engine, log *slog.Logger) *memory {
	return &memory{
		cluster: cluster, key: key, store: store, engine: engine, log: log,
		contents: map[desired.Digest][]byte{}, sealed: map[string][]byte{}, failures: map[desired.Digest]error{},
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
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stamp, m.contents, m.sealed = snapshot.Seen, snapshot.Contents, snapshot.Values
	if m.contents == nil {
		m.contents = map[desired.Digest][]byte{}
	}
	if m.sealed == nil {
		m.sealed = map[string][]byte{}
	}
	m.verdict.Effective = snapshot.Root
	m.announced, m.digest = snapshot.Root, snapshot.Root.Digest()
	if snapshot.Seen.Incarnation != "" {
		m.enforce()
	}
	return nil
}

// seen is whom the agent obeys and what was announced last.
func (m *memory) seen() (wire.Stamp, desired.Digest) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.stamp, m.digest
}

// announce takes a change of the hub's and enforces what of it is obeyed.
func (m *memory) announce(d desired.Delta, from wire.Stamp, accepted string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	next, err := d.Apply(m.announced)
	if err != nil {
		return err
	}
	m.announced, m.digest = next, d.Target
	m.verdict = judge(m.verdict.Effective, next, m.stamp, from, accepted)
	if m.verdict.Follow {
		m.stamp = wire.Stamp{Incarnation: from.Incarnation, Term: from.Term}
	}
	m.forget()
	m.enforce()
	notify(m.dirty)
	notify(m.changed)
	return nil
}

// confirm notes the term of a hub whose root is already held.
func (m *memory) confirm(from wire.Stamp) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if from.Incarnation == m.stamp.Incarnation && from.Term > m.stamp.Term {
		m.stamp.Term = from.Term
		notify(m.dirty)
	}
}

// forget drops contents and values that nothing refers to any more.
func (m *memory) forget() {
	needed := map[desired.Digest]bool{}
	for _, r := range []desired.Root{m.announced, m.verdict.Effective} {
		for _, d := range r.Contents() {
			needed[d] = true
		}
	}
	for d := range m.contents {
		if !needed[d] {
			delete(m.contents, d)
		}
	}
	for d := range m.failures {
		if !needed[d] {
			delete(m.failures, d)
		}
	}
	refs := map[string]bool{}
	for _, data := range m.contents {
		if b, err := content.Decode(data); err == nil {
			for _, r := range b.Refs() {
				refs[r] = true
			}
		}
	}
	for r := range m.sealed {
		if !refs[r] {
			delete(m.sealed, r)
		}
	}
}

// enforce hands the effective root to the engine; m.mu is held.
func (m *memory) enforce() {
	m.engine.SetRoot(context.Background(), m.verdict.Effective, m.bundle, m.value)
}

// keep takes a content that has arrived.
func (m *memory) keep(d desired.Digest, data []byte, values []wire.SealedValue) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.contents[d] = data
	delete(m.failures, d)
	for _, v := range values {
		m.sealed[v.Ref] = v.Sealed
	}
	m.enforce()
	notify(m.dirty)
}

// failed notes why a content is not there.
func (m *memory) failed(d desired.Digest, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failures[d] = err
	m.enforce()
	notify(m.changed)
}

// missing are the contents that the effective root needs and that are not here.
func (m *memory) missing() []desired.Digest {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []desired.Digest
	for _, d := range m.verdict.Effective.Contents() {
		if _, ok := m.contents[d]; !ok {
			out = append(out, d)
		}
	}
	return out
}

func (m *memory) bundle(d desired.Digest) (content.Bundle, error) {
	m.mu.Lock()
	data, ok := m.contents[d]
	err := m.failures[d]
	m.mu.Unlock()
	switch {
	case ok:
		return content.Decode(data)
	case err != nil:
		return content.Bundle{}, err
	default:
		return content.Bundle{}, fmt.Errorf("content %s has not arrived yet", d.Short())
	}
}

func (m *memory) value(ref string) ([]byte, error) {
	m.mu.Lock()
	sealed, ok := m.sealed[ref]
	m.mu.Unlock()
	if !ok {
		return nil, fmt.Errorf("the secret value %s has not arrived yet", ref)
	}
	return m.key.Open(seal.Info{Cluster: m.cluster, Ref: ref}, sealed)
}

// states are the engine's, with what is held.
func (m *memory) states() map[desired.Key]report.State {
	m.mu.Lock()
	announced, v, saveErr := m.announced, m.verdict, m.saveErr
	m.mu.Unlock()
	states := overlay(m.engine.States(), announced, v)
	if saveErr != nil {
		for k, s := range states {
			s.Problems = append(s.Problems[:len(s.Problems):len(s.Problems)], report.Problem{Reason: "StoreFull", Message: saveErr.Error()})
			states[k] = s
		}
	}
	return states
}

// changes delivers a value after states may have changed.
func (m *memory) changes() <-chan struct{} { return m.changed }

func (m *memory) nudge() { notify(m.changed) }

// run saves what changed and passes the engine's changes on.
func (m *memory) run(ctx context.Context) error {
	retry := time.NewTimer(time.Hour)
	defer retry.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-m.engine.Changed():
			notify(m.changed)
		case <-m.dirty:
			if m.save(ctx) != nil {
				retry.Reset(saveRetry)
			}
		case <-retry.C:
			notify(m.dirty)
		}
	}
}

// saveRetry is how soon a failed save is tried again.
const saveRetry = 10 * time.Second

func (m *memory) save(ctx context.Context) error {
	m.mu.Lock()
	snapshot := localstore.Snapshot{Seen: m.stamp, Root: m.verdict.Effective, Contents: clone(m.contents), Values: clone(m.sealed)}
	m.mu.Unlock()
	err := m.store.Save(ctx, snapshot)
	m.mu.Lock()
	before := m.saveErr
	m.saveErr = err
	m.mu.Unlock()
	if err != nil {
		m.log.Error("what the hub asked for cannot be stored; it is enforced until the agent restarts", "err", err)
	}
	if (err == nil) != (before == nil) {
		notify(m.changed)
	}
	return err
}

func clone[K comparable, V any](in map[K]V) map[K]V {
	out := make(map[K]V, len(in))
	for k, v := range in {
		out[k] = v
	}
	return out
}

func notify(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
