package testfleet

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/runtime"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/sandbox"
)

// patience is far beyond what anything here takes on an idle machine.
const patience = 3 * time.Minute

// How a member is tied to the hub.
const (
	// Agent is an agent process that joined and was accepted.
	Agent Mode = iota
	// Direct is reached by the hub with a kubeconfig.
	Direct
	// Alone is up, with nothing joined yet.
	Alone
)

// Mode is how a member is tied to the hub.
type Mode int

// Cluster is one member to bring up.
type Cluster struct {
	// Spec is the sandbox's: only Name is needed.
	Spec sandbox.ClusterSpec
	// Join are flags for `atoll join`, such as --label stage=production.
	Join []string
	Mode Mode
}

// Named is a Cluster with a label: Named("a", "stage=production").
func Named(name string, labels ...string) Cluster {
	c := Cluster{Spec: sandbox.ClusterSpec{Name: name}}
	for _, l := range labels {
		c.Join = append(c.Join, "--label", l)
	}
	return c
}

// Options say what to bring up.
type Options struct {
	Clusters []Cluster
	// Heartbeat of hub and agents; default 500 ms.
	Heartbeat time.Duration
	// Replicas lets another hub take over, by a door that agents dial; only where
	// the hub stores outside itself.
	Replicas bool
	// HubFlags are further ones of the hub.
	HubFlags []string
}

// Fleet is a running fleet as one test sees it.
type Fleet struct {
	Hub *Hub
	*world
	t testing.TB
}

// world is what tests share.
type world struct {
	dir     string
	hub     *hubProcess
	sandbox *sandbox.Fleet
	mu      sync.Mutex // guards members
	members map[string]*member
}

// Start brings up a fleet of the test's own, which ends with the test. The
// test is skipped when the programs have not been built.
func Start(t testing.TB, o Options) *Fleet {
	t.Helper()
	requirePrograms(t)
	w, err := newWorld(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.end(); err != nil {
			t.Error(err)
		}
	})
	f := w.seenBy(t)
	if err := w.up(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	return f
}

var shared struct {
	sync.Mutex
	world *world
	err   error
}

// Shared is the fleet that all tests of a package use, each with a project of
// its own. The first caller brings it up; it ends with the process. Every
// caller gives the same options.
func Shared(t testing.TB, o Options) *Fleet {
	t.Helper()
	requirePrograms(t)
	shared.Lock()
	defer shared.Unlock()
	if shared.world == nil && shared.err == nil {
		if shared.world, shared.err = newWorld(o); shared.err == nil {
			// Not the test's context: the fleet outlives the first test.
			if shared.err = shared.world.up(context.Background(), o); shared.err != nil {
				shared.err = fmt.Errorf("%w\nhub's log:\n%s", shared.err, shared.world.hub.lastWords(40))
			}
		}
	}
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.world.seenBy(t)
}

// EndShared ends the shared fleet, for a TestMain that wants its memory back.
func EndShared() error {
	shared.Lock()
	defer shared.Unlock()
	if shared.world == nil {
		return nil
	}
	return shared.world.end()
}

func newWorld(o Options) (*world, error) {
	ctrllog.SetLogger(discard())
	dir, err := os.MkdirTemp("", "atoll-testfleet-")
	if err != nil {
		return nil, err
	}
	box, err := sandbox.NewBound(dir)
	if err != nil {
		return nil, err
	}
	w := &world{dir: dir, sandbox: box, members: map[string]*member{}}
	// Beside the clusters, so that all of it goes when the process is killed.
	for _, sub := range []string{".hub", ".agents"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return nil, err
		}
	}
	w.hub, err = newHubProcess(filepath.Join(dir, ".hub"), o)
	return w, err
}

// up starts the hub and the clusters side by side, then joins them.
func (w *world) up(ctx context.Context, o Options) error {
	var group errgroup.Group
	group.Go(func() error { return w.hub.begin(ctx) })
	group.Go(func() error { return w.addAll(ctx, o.Clusters) })
	if err := group.Wait(); err != nil {
		return err
	}
	for _, c := range o.Clusters {
		group.Go(func() error { return w.member(c.Spec.Name).tie(ctx, c.Mode) })
	}
	return group.Wait()
}

func (w *world) end() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range w.members {
		_ = m.agent.end(killSignal) // it may never have run
	}
	_ = w.hub.end(killSignal)
	if w.hub.door != nil {
		_ = w.hub.door.listener.Close()
	}
	w.hub.registry.end()
	if w.hub.store != nil {
		_ = w.hub.store.end()
	}
	if err := w.sandbox.Down(); err != nil {
		return err
	}
	return os.RemoveAll(w.dir)
}

func (w *world) seenBy(t testing.TB) *Fleet {
	f := &Fleet{world: w, t: t, Hub: &Hub{hubProcess: w.hub, t: t}}
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		t.Logf("hub's log:\n%s", w.hub.lastWords(30))
		w.mu.Lock()
		defer w.mu.Unlock()
		for name, m := range w.members {
			t.Logf("log of agent %s:\n%s", name, m.agent.lastWords(15))
		}
	})
	return f
}

// Dir is where the files of the fleet lie: the hub's in .hub, the agents' in
// .agents.
func (w *world) Dir() string { return w.dir }

func newScheme() (*runtime.Scheme, error) {
	s := runtime.NewScheme()
	if err := clientscheme.AddToScheme(s); err != nil {
		return nil, err
	}
	return s, v1alpha1.AddToScheme(s)
}
