// Package notify tells those outside who asked for it what becomes of
// applications and clusters: it looks at the objects as they change, keeps a queue
// for each receiver, and records on the Project how the deliveries go. What is an
// event and who wants it is decided in internal/notify, how it is sent in
// internal/notify/deliver.
//
// A receiver has a worker of its own, so that one which does not answer keeps
// nobody else waiting, and least of all the loops that deliver.
package notify

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/notify"
	"atoll.dev/atoll/internal/observed"
	"atoll.dev/atoll/internal/report"
	"atoll.dev/atoll/internal/source"
)

// Sender makes one attempt to tell a receiver.
type Sender interface {
	Send(ctx context.Context, e notify.Event) error
	Close()
}

// Options are what a Teller works with.
type Options struct {
	// Client reads from a cache and writes, Live reads the store.
	Client client.Client
	Live   client.Reader
	Cache  cache.Informers
	Book   *desired.Book
	// State is what a cluster said last of an application, and Summary sums up what
	// is believed of all of its clusters now.
	State   func(cluster string, key desired.Key) report.State
	Summary func(app *v1alpha1.Application) observed.Summary
	// Open prepares to tell a receiver; secret is nil without one.
	Open func(n v1alpha1.Notification, secret *source.Secret) (Sender, error)
	Now  func() time.Time
	// Spread makes of a time to wait one that differs by chance.
	Spread func(time.Duration) time.Duration
	Log    *slog.Logger
}

// Teller tells. Its methods may be called before Run and from anywhere.
type Teller struct {
	Options
	drifts *notify.Drifts

	mu sync.Mutex
	// projects are those that have somebody told, known all that were looked at.
	projects map[string]*audience
	known    map[string]bool
	// entered is for each application the commit of which its clusters are told, and
	// taken the same where somebody wants to know.
	entered map[types.NamespacedName]string
	taken   map[types.NamespacedName]taken
	// links are the states of clusters' connections.
	links map[types.UID]v1alpha1.ConnectionState
}

// audience is who is told of a project, and what is known to them.
type audience struct {
	seen      *notify.Seen
	receivers map[string]*receiver
}

// taken is a commit, and the version of the application that first said so.
type taken struct{ commit, version string }

// New prepares to tell what happens from now on.
func New(o Options) *Teller {
	return &Teller{
		Options: o, drifts: notify.NewDrifts(o.Now()),
		projects: map[string]*audience{}, known: map[string]bool{}, entered: map[types.NamespacedName]string{}, taken: map[types.NamespacedName]taken{},
		links: map[types.UID]v1alpha1.ConnectionState{},
	}
}

// Run tells until ctx ends. It begins when the Book is whole: before, nobody
// knows what clusters should run.
func (t *Teller) Run(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-t.Book.Complete():
	}
	var workers sync.WaitGroup
	defer workers.Wait()
	start := func(r *receiver) {
		serving, stop := context.WithCancel(ctx)
		r.stop = stop
		commits := r.spec.CommitStatus != nil
		workers.Go(func() {
			if commits {
				t.confirmAll(serving, r.project)
			}
			t.serve(serving, r)
		})
	}
	handlers := []struct {
		of      client.Object
		handler toolscache.ResourceEventHandlerFuncs
	}{
		// First, so that there is somebody to tell what the others show.
		{&v1alpha1.Project{}, on(func(p *v1alpha1.Project) { t.project(p, start) }, t.projectGone)},
		{&v1alpha1.Cluster{}, on(t.cluster, t.clusterGone)},
		{&v1alpha1.RolloutRun{}, on(t.rollout, t.rolloutGone)},
		{&v1alpha1.Application{}, on(t.application, t.applicationGone)},
	}
	for _, h := range handlers {
		if err := t.listen(ctx, h.of, h.handler); err != nil {
			return err
		}
	}
	return t.keepRecord(ctx)
}

// listen has a handler called with all objects of a kind and with each change of
// one, and returns when it was called with those that there are.
func (t *Teller) listen(ctx context.Context, of client.Object, handler toolscache.ResourceEventHandlerFuncs) error {
	informer, err := t.Cache.GetInformer(ctx, of)
	if err != nil {
		return fmt.Errorf("watch %T to tell of it: %w", of, err)
	}
	registration, err := informer.AddEventHandler(handler)
	if err != nil {
		return fmt.Errorf("watch %T to tell of it: %w", of, err)
	}
	context.AfterFunc(ctx, func() { _ = informer.RemoveEventHandler(registration) })
	toolscache.WaitForCacheSync(ctx.Done(), registration.HasSynced)
	return nil
}

// on calls what looks at an object with each of its states that is seen.
func on[T client.Object](look, gone func(T)) toolscache.ResourceEventHandlerFuncs {
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { look(o.(T)) },
		UpdateFunc: func(_, o any) { look(o.(T)) },
		DeleteFunc: func(o any) {
			if last, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
				o = last.Obj
			}
			if o, ok := o.(T); ok {
				gone(o)
			}
		},
	}
}

// tell queues events for those of a project who want them; t.mu is held.
func (t *Teller) tell(a *audience, events []notify.Event, labels map[string]string) {
	for _, e := range events {
		for _, r := range a.receivers {
			if r.route.Wants(e, labels) {
				r.push(e)
			}
		}
	}
}
