package agent

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"atoll.dev/atoll/internal/apply"
	"atoll.dev/atoll/internal/content"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/lease"
	"atoll.dev/atoll/internal/localstore"
	"atoll.dev/atoll/internal/report"
	"atoll.dev/atoll/internal/seal"
	"atoll.dev/atoll/internal/wire"
)

// engineLike locks as internal/apply does: it calls back for values while it
// holds its own lock.
type engineLike struct {
	mu      sync.Mutex
	root    desired.Root
	bundles apply.Bundles
	values  apply.Values
	sets    int
	// recalled came with the last root.
	recalled []desired.Key
	changed  chan struct{}
}

func (e *engineLike) SetRoot(_ context.Context, r desired.Root, b apply.Bundles, v apply.Values, recalled ...desired.Key) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.root, e.bundles, e.values, e.recalled = r, b, v, recalled
	e.sets++
}

func (e *engineLike) States() map[desired.Key]report.State {
	e.mu.Lock()
	defer e.mu.Unlock()
	states := map[desired.Key]report.State{}
	for _, en := range e.root.Entries {
		_, err := e.bundles(en.Content)
		_, _ = e.values("some reference")
		s := report.State{Key: en.Key, Entry: en.Digest(), Sync: report.InSync, Health: report.HealthHealthy}
		if err != nil {
			s.Sync, s.Message = report.Failed, err.Error()
		}
		states[en.Key] = s
	}
	return states
}

func (e *engineLike) Changed() <-chan struct{} { return e.changed }

func (e *engineLike) enforced() desired.Root {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.root
}

// shelf is a store in memory.
type shelf struct {
	mu    sync.Mutex
	kept  localstore.Snapshot
	saves int
	full  error
}

func (s *shelf) Load(context.Context) (localstore.Snapshot, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept, nil
}

func (s *shelf) Save(ctx context.Context, snapshot localstore.Snapshot) error {
	if ctx.Err() != nil {
		return ctx.Err() // as a call to the member would
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.full != nil {
		return s.full
	}
	s.kept = snapshot
	s.saves++
	return nil
}

func (s *shelf) SweepStrays(context.Context, time.Time) (bool, error) { return true, nil }

func remembering(t *testing.T, s *shelf) (*memory, *engineLike) {
	t.Helper()
	sealing, err := seal.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	e := &engineLike{changed: make(chan struct{}, 1)}
	m := newMemory(newContents("c", sealing), s, e, slog.New(slog.DiscardHandler))
	if err := m.load(t.Context()); err != nil {
		t.Fatal(err)
	}
	return m, e
}

func bundleOf(t *testing.T, manifest string) (desired.Digest, []byte) {
	t.Helper()
	parsed, err := content.Parse([]content.File{{Name: "x.yaml", Data: []byte(manifest)}},
		content.Options{Ref: seal.NewRefKey().Ref, Namespace: "demo"})
	if err != nil {
		t.Fatal(err)
	}
	data := parsed.Bundle.Encode()
	return desired.Sum(data), data
}

const configMap = `{apiVersion: v1, kind: ConfigMap, metadata: {name: x}}`

func TestWhatWasAnnouncedIsEnforcedSavedAndLoaded(t *testing.T) {
	s := &shelf{}
	m, e := remembering(t, s)
	digest, data := bundleOf(t, configMap)
	root := rootOf(t, desired.Entry{Key: key("a"), UID: "u", Generation: 1, Content: digest})
	if err := m.announce(desired.Whole(root), first, ""); err != nil {
		t.Fatal(err)
	}
	if got := m.missing(); len(got) != 1 || got[0] != digest {
		t.Fatalf("missing %v", got)
	}
	if err := m.keep(&assembled{digest: digest, data: data}); err != nil {
		t.Fatal(err)
	}
	if got := m.missing(); len(got) != 0 {
		t.Fatalf("missing %v", got)
	}
	if err := m.save(t.Context()); err != nil {
		t.Fatal(err)
	}

	again, e2 := remembering(t, s)
	if e.enforced().Digest() != root.Digest() || e2.enforced().Digest() != root.Digest() {
		t.Error("the root is not enforced, or not after a restart")
	}
	if seen, announced := again.seen(); seen != first || announced != root.Digest() {
		t.Errorf("after a restart it has seen %v, %s", seen, announced)
	}
	if got := again.missing(); len(got) != 0 {
		t.Errorf("after a restart it lacks %v", got)
	}
}

func TestUntilItsContentHasArrivedAnApplicationIsStoredAsItWas(t *testing.T) {
	s := &shelf{}
	m, _ := remembering(t, s)
	was, data := bundleOf(t, configMap)
	before := rootOf(t, desired.Entry{Key: key("a"), UID: "u", Generation: 1, Content: was})
	if err := m.announce(desired.Whole(before), first, ""); err != nil {
		t.Fatal(err)
	}
	if err := m.keep(&assembled{digest: was, data: data}); err != nil {
		t.Fatal(err)
	}
	if err := m.save(t.Context()); err != nil {
		t.Fatal(err)
	}
	is, changed := bundleOf(t, `{apiVersion: v1, kind: ConfigMap, metadata: {name: other}}`)
	after := rootOf(t, desired.Entry{Key: key("a"), UID: "u", Generation: 2, Content: is})

	s.full = errors.New("no room")
	if err := m.announce(desired.Whole(after), first, ""); err != nil {
		t.Fatal(err)
	}
	if m.save(t.Context()) == nil {
		t.Fatal("the full store took it")
	}
	s.full = nil
	if err := m.save(t.Context()); err != nil {
		t.Fatal(err)
	}
	again, restarted := remembering(t, s)
	if restarted.enforced().Digest() != before.Digest() || len(again.missing()) != 0 {
		t.Errorf("restarted without its hub, it enforces %v and lacks %v", restarted.enforced(), again.missing())
	}
	if st := m.states()[key("a")]; len(st.Problems) == 0 || st.Problems[0].Reason != "StoreFull" {
		t.Errorf("it says that all is stored: %+v", st)
	}

	if err := m.keep(&assembled{digest: is, data: changed}); err != nil {
		t.Fatal(err)
	}
	if err := m.save(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, restarted := remembering(t, s); restarted.enforced().Digest() != after.Digest() {
		t.Error("what has arrived is not stored")
	}
	if st := m.states()[key("a")]; len(st.Problems) != 0 {
		t.Errorf("it still has a problem: %+v", st.Problems)
	}
	if len(m.contents.missing([]desired.Digest{was})) == 0 {
		t.Error("content that no root needs is kept")
	}
}

func TestAContentWhoseSecretValuesAreLostIsAskedForAgain(t *testing.T) {
	m, _ := remembering(t, &shelf{})
	digest, data := bundleOf(t, `{apiVersion: v1, kind: Secret, metadata: {name: x}, stringData: {password: hunter2}}`)
	root := rootOf(t, desired.Entry{Key: key("a"), Content: digest})
	if err := m.announce(desired.Whole(root), first, ""); err != nil {
		t.Fatal(err)
	}
	if err := m.keep(&assembled{digest: digest, data: data}); err != nil {
		t.Fatal(err)
	}
	if got := m.missing(); len(got) != 1 {
		t.Fatalf("without its values it counts as here: %v", got)
	}
	var values []wire.SealedValue
	for _, ref := range m.contents.refs[digest] {
		values = append(values, wire.SealedValue{Ref: ref, Sealed: []byte("sealed")})
	}
	if err := m.keep(&assembled{digest: digest, data: data, values: values}); err != nil {
		t.Fatal(err)
	}
	if got := m.missing(); len(got) != 0 {
		t.Errorf("with its values it is missing: %v", got)
	}
	if err := m.announce(desired.Whole(desired.Root{}), first, ""); err != nil {
		t.Fatal(err)
	}
	if bundles, sealed := m.contents.copies(); len(bundles)+len(sealed) != 0 {
		t.Errorf("nothing refers to them any more, yet %d contents and %d values are kept", len(bundles), len(sealed))
	}
}

func TestADamagedContentInTheStoreIsAskedForAgain(t *testing.T) {
	digest, _ := bundleOf(t, configMap)
	s := &shelf{kept: localstore.Snapshot{
		Seen: first, Root: rootOf(t, desired.Entry{Key: key("a"), Content: digest}),
		Contents: map[desired.Digest][]byte{digest: []byte("something else")},
	}}
	m, _ := remembering(t, s)
	if got := m.missing(); len(got) != 1 {
		t.Errorf("missing %v", got)
	}
}

func TestARestoredHubThatAsksForJustWhatIsHereIsFollowed(t *testing.T) {
	m, _ := remembering(t, &shelf{})
	root := rootOf(t, desired.Entry{Key: key("a"), UID: "u", Generation: 1})
	if err := m.announce(desired.Whole(root), first, ""); err != nil {
		t.Fatal(err)
	}
	m.confirm(second, "")
	if seen, _ := m.seen(); seen != second {
		t.Errorf("it obeys %v", seen)
	}
}

func TestAPersonsWordEndsTheHoldWithoutAnotherChange(t *testing.T) {
	m, e := remembering(t, &shelf{})
	if err := m.announce(desired.Whole(rootOf(t, desired.Entry{Key: key("a"), UID: "u", Generation: 2})), first, ""); err != nil {
		t.Fatal(err)
	}
	old := rootOf(t, desired.Entry{Key: key("a"), UID: "u", Generation: 1})
	if err := m.announce(desired.Whole(old), second, ""); err != nil {
		t.Fatal(err)
	}
	m.confirm(second, "")
	if s := m.states()[key("a")]; s.Sync != report.Held {
		t.Fatalf("an older intent is %s", s.Sync)
	}
	m.confirm(second, second.Incarnation)
	if e.enforced().Digest() != old.Digest() {
		t.Error("accepted, and the hub's intent is still not enforced")
	}
	if seen, _ := m.seen(); seen != second {
		t.Errorf("it obeys %v", seen)
	}
}

func TestAFullStoreIsSaidInEveryState(t *testing.T) {
	s := &shelf{full: errors.New("no room")}
	m, _ := remembering(t, s)
	if err := m.announce(desired.Whole(rootOf(t, desired.Entry{Key: key("a")})), first, ""); err != nil {
		t.Fatal(err)
	}
	if m.save(t.Context()) == nil {
		t.Fatal("saved to a full store")
	}
	if p := m.states()[key("a")].Problems; len(p) != 1 || p[0].Reason != "StoreFull" {
		t.Errorf("problems %+v", p)
	}
	s.full = nil
	if err := m.save(t.Context()); err != nil {
		t.Fatal(err)
	}
	if p := m.states()[key("a")].Problems; len(p) != 0 {
		t.Errorf("problems %+v remain", p)
	}
}

// The engine asks for values from inside its lock while the hub's word arrives.
func TestReportingAndHearingAtOnceDoNotWaitForEachOther(t *testing.T) {
	m, e := remembering(t, &shelf{})
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = m.run(ctx) })
	digest, data := bundleOf(t, configMap)
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range int64(300) {
			root := rootOf(t, desired.Entry{Key: key("a"), Generation: i, Content: digest})
			if err := m.announce(desired.Whole(root), first, ""); err != nil {
				t.Error(err)
			}
			m.failed(digest, errors.New("later"))
			_ = m.keep(&assembled{digest: digest, data: data})
			m.confirm(first, "")
		}
	})
	wg.Go(func() {
		for range 300 {
			m.states()
			m.missing()
			notify(e.changed)
		}
	})
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatal("they wait for each other")
	}
	stop()
	running.Wait()
	if s := m.states()[key("a")]; s.Sync != report.InSync {
		t.Errorf("in the end it is %+v", s)
	}
}

func TestWhatCameInTheLastMomentIsStoredUnlessTheTurnWasLost(t *testing.T) {
	for name, cause := range map[string]error{"asked to end": nil, "overtaken": lease.ErrLost} {
		s := &shelf{}
		m, _ := remembering(t, s)
		root := rootOf(t, desired.Entry{Key: key("a"), UID: "u", Generation: 1})
		if err := m.announce(desired.Whole(root), first, ""); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(cause)
		if err := m.run(ctx); err != nil {
			t.Fatal(err)
		}
		if stored := s.kept.Root.Digest() == root.Digest(); stored != (cause == nil) {
			t.Errorf("%s: stored %v", name, stored)
		}
	}
}
