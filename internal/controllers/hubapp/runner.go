// Package hubapp delivers to the hub itself what applications with placement.hub
// ask for: it runs the engine of the agents over the hub's own API, and says what
// became of it as an agent would. What may be delivered there is internal/policy's
// decision, and who else may change it internal/managed's.
package hubapp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"atoll.dev/atoll/internal/apply"
	"atoll.dev/atoll/internal/content"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/localstore"
	"atoll.dev/atoll/internal/observed"
	"atoll.dev/atoll/internal/placement"
	"atoll.dev/atoll/internal/report"
)

// Contents finds what is to be delivered.
type Contents interface {
	Bundle(ctx context.Context, project string, digest desired.Digest) (content.Bundle, error)
}

// Options are what a Runner works with.
type Options struct {
	// Config reaches the hub's own API, as the hub.
	Config *rest.Config
	// Namespace holds what the Runner remembers: the hub's own.
	Namespace string
	Book      *desired.Book
	Fleet     *observed.Fleet
	Contents  Contents
	Heartbeat time.Duration
	Now       func() time.Time
	Log       *slog.Logger
}

// Runner is one hub's delivery to itself.
type Runner struct {
	Options
	changed chan struct{}

	mu sync.Mutex
	// engine is nil while no application targets the hub, as in most fleets.
	engine *apply.Engine
}

// New makes a Runner; nothing happens before Run.
func New(o Options) *Runner {
	return &Runner{Options: o, changed: make(chan struct{}, 1)}
}

// Notify says that the Book has changed for the hub.
func (r *Runner) Notify() {
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// retry is how long after a failure the hub's own store is asked again.
const retry = 5 * time.Second

// Run delivers until ctx ends. Before the first application that targets the hub
// it costs one read.
func (r *Runner) Run(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-r.Book.Complete():
	}
	kube, err := kubernetes.NewForConfig(r.Config)
	if err != nil {
		return fmt.Errorf("connect to the hub's own API: %w", err)
	}
	store, err := localstore.Open(kube, r.Namespace)
	if err != nil {
		return err
	}
	kept, err := r.load(ctx, store)
	if err != nil || !r.awaited(ctx, kept) {
		return err
	}
	engine, err := apply.New(r.Config, apply.Options{Memory: store, Clock: r.Now, Log: r.Log.With("delivers to", "the hub itself"), Workers: workers, Bare: true})
	if err != nil {
		return err
	}
	r.mu.Lock()
	r.engine = engine
	r.mu.Unlock()
	var running sync.WaitGroup
	defer running.Wait()
	ended := make(chan error, 1)
	running.Go(func() { ended <- engine.Run(ctx) })
	d := &delivery{Runner: r, engine: engine, store: store, kept: kept}
	d.keep(ctx, ended)
	return nil
}

// workers are few: a hub's objects are, and its API serves others too.
const workers = 4

// load waits for the store: without it nothing is known of what is owned.
func (r *Runner) load(ctx context.Context, store *localstore.Store) (desired.Root, error) {
	for {
		snapshot, err := store.Load(ctx)
		switch {
		case err == nil:
			return snapshot.Root, nil
		case ctx.Err() != nil:
			return desired.Root{}, nil
		}
		r.Log.Warn("what the hub delivers to itself cannot be read yet", "err", err)
		sleep(ctx, retry)
	}
}

// awaited waits for something to deliver, or to let go of.
func (r *Runner) awaited(ctx context.Context, kept desired.Root) bool {
	for len(kept.Entries) == 0 && len(r.Book.Root(placement.Hub).Entries) == 0 {
		select {
		case <-ctx.Done():
			return false
		case <-r.changed:
		}
	}
	return ctx.Err() == nil
}

// errNoSecrets is for content that was checked, and holds none.
var errNoSecrets = errors.New("the hub takes no values of Secrets")

func noValues(string) ([]byte, error) { return nil, errNoSecrets }

func (r *Runner) running() (*apply.Engine, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.engine == nil {
		return nil, errors.New("nothing is delivered to the hub yet; ask again in a moment")
	}
	return r.engine, nil
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// reportOf is the whole of what is known.
func reportOf(states map[desired.Key]report.State, now time.Time) report.Report {
	out := report.Report{Full: true, Digest: report.Digest(states), At: report.Time(now)}
	for _, s := range states {
		out.States = append(out.States, s)
	}
	return out
}
