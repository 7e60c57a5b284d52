package apply

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"
	"k8s.io/client-go/rest"

	"atoll.dev/atoll/internal/content"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/report"
)

// Options steer an Engine; the zero value of each field has a sensible default.
type Options struct {
	// Memory keeps inventories; default: for the life of the process.
	Memory Memory
	Clock  func() time.Time
	Log    *slog.Logger
	// Workers bound the requests that run at once; default 16.
	Workers int
	// Bare says that nothing runs in the member and nothing scales, as in a hub.
	Bare bool
}

// Bundles finds a content by its digest; Values a secret value by its reference.
type (
	Bundles func(desired.Digest) (content.Bundle, error)
	Values  func(ref string) ([]byte, error)
)

// Engine keeps one member as its Root says.
type Engine struct {
	log     *slog.Logger
	clock   func() time.Time
	memory  Memory
	workers int
	bare    bool
	clients *clients
	kinds   *kinds
	reach   *reach
	queue   *queue
	changed chan struct{}
	saves   chan struct{}
	woken   atomic.Int64 // when saves was last asked for
	// unrecorded paces applies to objects whose baseline was lost.
	unrecorded *rate.Limiter

	saving sync.Mutex // one save after the other: an older one must not win

	mu       sync.Mutex
	ctx      context.Context // of Run; nil before
	root     *desired.Root   // nil before the first SetRoot
	bundles  Bundles
	values   Values
	saved    map[desired.Key]inventory // loaded and not yet claimed by an entry
	entries  map[desired.Key]*entry
	objects  map[ID]*object
	heirs    map[ID]string // object handed over → field manager of its former owner
	watches  map[watchKey]*watcher
	projects map[string]*projectAccess
	member   member
	unsaved  map[desired.Key]bool
	recalled map[desired.Key]bool // of root
	formers  map[desired.Key]former
	barred   map[desired.Key]bool // entries that wait for others
	hearBy   time.Time            // how long the hub is waited for; recall.go
	storeErr error
	facts    factsCache
}

// New makes an Engine for the member behind cfg. Nothing runs before Run.
func New(cfg *rest.Config, o Options) (*Engine, error) {
	e := &Engine{
		log: o.Log, clock: o.Clock, memory: o.Memory, workers: o.Workers, bare: o.Bare,
		queue: newQueue(), changed: make(chan struct{}, 1), saves: make(chan struct{}, 1),
		unrecorded: rate.NewLimiter(100, 20),
		entries:    map[desired.Key]*entry{}, objects: map[ID]*object{}, heirs: map[ID]string{},
		watches: map[watchKey]*watcher{}, projects: map[string]*projectAccess{}, unsaved: map[desired.Key]bool{},
		formers: map[desired.Key]former{}, barred: map[desired.Key]bool{}, member: newMember(),
	}
	if e.log == nil {
		e.log = slog.New(slog.DiscardHandler)
	}
	if e.clock == nil {
		e.clock = time.Now
	}
	if e.memory == nil {
		e.memory = &Volatile{}
	}
	if e.workers <= 0 {
		e.workers = 16
	}
	e.reach = newReach(e.clock, e.touchAll)
	var err error
	if e.clients, err = newClients(cfg, e.reach.wrap); err != nil {
		return nil, err
	}
	e.kinds = newKinds(e.clients.discover, e.clock)
	return e, nil
}

// Run works until ctx ends; it is called once.
func (e *Engine) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	defer e.queue.Close()
	g.Go(func() error { e.reach.probe(ctx, e.clients.discover.RESTClient()); return nil })
	saved, err := e.load(ctx)
	if err != nil {
		return err
	}
	e.mu.Lock()
	e.ctx, e.saved = ctx, saved
	e.watchMember()
	e.mu.Unlock()
	if err := e.awaitMember(ctx); err != nil {
		return g.Wait()
	}
	e.mu.Lock()
	e.follow()
	e.mu.Unlock()
	for range e.workers {
		g.Go(func() error { e.work(ctx); return nil })
	}
	g.Go(func() error { e.save(ctx); return nil })
	if !e.bare {
		g.Go(func() error { e.lookAtPods(ctx); return nil })
	}
	<-ctx.Done()
	return g.Wait()
}

// load reads the inventories, however long the member's API stays away:
// without them nothing may be done.
func (e *Engine) load(ctx context.Context) (map[desired.Key]inventory, error) {
	for failures := 0; ; failures++ {
		data, err := e.memory.LoadInventories(ctx)
		if err == nil {
			return e.decode(data), nil
		}
		e.log.Warn("inventories cannot be read yet", "error", err)
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("load inventories: %w", ctx.Err())
		case <-time.After(backoff(failures, 100*time.Millisecond, 5*time.Second)):
		}
	}
}

func (e *Engine) decode(data map[desired.Key][]byte) map[desired.Key]inventory {
	saved := make(map[desired.Key]inventory, len(data))
	for k, raw := range data {
		inv, err := decodeInventory(raw)
		if err != nil {
			// Without its inventory an application prunes nothing, and its
			// objects are recognised by their field manager.
			e.log.Error("an inventory is unreadable and starts anew", "application", k, "error", err)
			continue
		}
		saved[k] = inv
	}
	return saved
}

func (e *Engine) work(ctx context.Context) {
	for {
		t, ok := e.queue.Get(ctx)
		if !ok {
			return
		}
		if e.reach.Wait(ctx) == nil {
			if t.isEntry() {
				e.prepare(ctx, t.entry)
			} else {
				e.syncObject(ctx, t.object)
			}
		}
		e.queue.Done(t)
	}
}

// SetRoot makes the engine converge towards root. It does not wait. Calling it
// again with the same root retries what lacked content or values. Of the recalled
// entries no hub has said anything since the agent began.
func (e *Engine) SetRoot(_ context.Context, root desired.Root, bundles Bundles, values Values, recalled ...desired.Key) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.keepFormer(root)
	e.root, e.bundles, e.values = &root, bundles, values
	e.recalled = make(map[desired.Key]bool, len(recalled))
	for _, k := range recalled {
		e.recalled[k] = true
	}
	if len(recalled) > 0 && e.hearBy.IsZero() {
		e.hearBy = e.clock().Add(patienceForHub)
	}
	if e.ctx != nil && e.member.listed() {
		e.follow()
	}
}

// follow compares the entries with the root and queues what differs.
func (e *Engine) follow() {
	if e.root == nil {
		return
	}
	for key, en := range e.entries {
		if now, ok := e.root.Get(key); !ok || !continues(now, en.want.UID) {
			e.forget(en)
		}
	}
	for i, want := range e.root.Entries {
		en, ok := e.entries[want.Key]
		if !ok {
			en = e.enter(want)
		}
		heard := en.recalled && !e.recalled[want.Key]
		if digest := e.root.DigestOf(i); digest != en.digest || !en.prepared || len(en.problems) > 0 || heard && en.overtaken {
			en.renew(want, digest)
			e.touch(en)
			e.queue.Add(task{entry: want.Key}, ordinary)
		}
		switch {
		case e.recalled[want.Key]:
			en.recalled = true
		case heard && en.prepared:
			e.confirm(en)
			e.touch(en)
		}
	}
	// What was saved for applications that are not in the root is orphaned: an
	// entry that vanishes without being withdrawn is never deleted.
	for key := range e.saved {
		e.unsaved[key] = true
		delete(e.saved, key)
	}
	e.announce()
	e.wakeSave()
}

// States are the present states, one per entry of the root.
func (e *Engine) States() map[desired.Key]report.State {
	e.mu.Lock()
	defer e.mu.Unlock()
	states := make(map[desired.Key]report.State, len(e.entries))
	for key, en := range e.entries {
		states[key] = e.stateOf(en)
	}
	return states
}

// Changed delivers a value after States may have changed; changes in between
// are one.
func (e *Engine) Changed() <-chan struct{} { return e.changed }

// Limits is what the member forbids now.
func (e *Engine) Limits() Limits {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.member.limits
}

// touch marks the entry's state as stale; e.mu is held.
func (e *Engine) touch(en *entry) {
	en.stale = true
	if len(e.barred) > 0 {
		e.wakeBarred(en.want.Key)
	}
	e.announce()
}

// announce has Changed deliver.
func (e *Engine) announce() {
	select {
	case e.changed <- struct{}{}:
	default:
	}
}

func (e *Engine) touchAll() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.touchAllLocked()
}

func (e *Engine) touchAllLocked() {
	for _, en := range e.entries {
		e.touch(en)
	}
}
