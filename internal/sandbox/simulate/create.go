package simulate

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/bench"
)

// arrivals follows applications from their creation.
type arrivals struct {
	mu     sync.Mutex
	made   map[string]time.Time
	placed map[string]time.Duration
	ready  map[string]chan struct{} // closed when it is
}

func (a *arrivals) creating(name string) (ready <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.made[name], a.ready[name] = time.Now(), make(chan struct{})
	return a.ready[name]
}

func (a *arrivals) see(app *v1alpha1.Application) {
	a.mu.Lock()
	defer a.mu.Unlock()
	ready, ours := a.ready[app.Name]
	if !ours {
		return
	}
	if _, done := a.placed[app.Name]; !done && len(app.Status.Clusters) > 0 {
		a.placed[app.Name] = time.Since(a.made[app.Name])
	}
	for _, c := range app.Status.Conditions {
		if c.Type == v1alpha1.ConditionReady && c.Status == metav1.ConditionTrue {
			close(ready)
			delete(a.ready, app.Name)
		}
	}
}

func (a *arrivals) untilPlaced() bench.Distribution {
	a.mu.Lock()
	defer a.mu.Unlock()
	var sample []time.Duration
	for _, d := range a.placed {
		sample = append(sample, d)
	}
	return bench.Distributed(sample)
}

// create makes all applications as pipelines would: InFlight of them at a time,
// each of which makes one and waits until every member has it and the hub has
// heard so. Each is from the creation to the choice of clusters.
func (r *rig) create(ctx context.Context) (*bench.Distribution, error) {
	w, err := r.hub.Client.Watch(ctx, &v1alpha1.ApplicationList{}, client.InNamespace(projectName))
	if err != nil {
		return nil, fmt.Errorf("watch the applications: %w", err)
	}
	defer w.Stop()
	a := &arrivals{made: map[string]time.Time{}, placed: map[string]time.Duration{}, ready: map[string]chan struct{}{}}
	group, ctx := errgroup.WithContext(ctx)
	created := make(chan struct{})
	group.Go(func() error { return a.follow(w, created) })
	var each errgroup.Group
	each.SetLimit(r.InFlight)
	for i := range r.Apps + 1 { // the last is on all
		each.Go(func() error { return r.createOne(ctx, a, i) })
	}
	err = each.Wait()
	close(created)
	w.Stop()
	if followed := group.Wait(); err == nil {
		err = followed
	}
	d := a.untilPlaced()
	return &d, err
}

// follow notes what the hub tells until all is created.
func (a *arrivals) follow(w watch.Interface, created <-chan struct{}) error {
	for e := range w.ResultChan() {
		if app, ok := e.Object.(*v1alpha1.Application); ok {
			a.see(app)
		}
	}
	select {
	case <-created:
		return nil
	default:
		return errors.New("the hub ended the watch of the applications")
	}
}

func (r *rig) createOne(ctx context.Context, a *arrivals, i int) error {
	name, selector := appName(i), fmt.Sprintf("%s=%d", slotLabel, i%r.slots())
	if i == r.Apps {
		name, selector = everywhere, slotLabel
	}
	ready := a.creating(name)
	if err := r.hub.Client.Create(ctx, r.application(name, selector, 0)); err != nil {
		return fmt.Errorf("create %s: %w", name, err)
	}
	select {
	case <-ready:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(patience):
		return fmt.Errorf("%s is not ready after %s", name, patience)
	}
}
