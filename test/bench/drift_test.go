package bench_test

import (
	"context"
	"fmt"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"atoll.dev/atoll/internal/bench"
)

// drifters are the objects that are deleted or edited in turns: an agent slows
// down where one object is changed back again and again, and so it should.
const drifters = 60

// harm is what somebody does to an object, and harmed and healed tell by the
// events that it was done and undone.
type harm struct {
	name           string
	do             func(ctx context.Context, b *bed, place int, namespace, object string) error
	harmed, healed func(sight) bool
}

var deletion = harm{
	name: "drift-delete",
	do: func(ctx context.Context, b *bed, place int, namespace, object string) error {
		background := metav1.DeletePropagationBackground
		return b.members[place].objects.Resource(deployments).Namespace(namespace).Delete(ctx, object, metav1.DeleteOptions{PropagationPolicy: &background})
	},
	harmed: func(s sight) bool { return s.kind == watch.Deleted },
	healed: func(s sight) bool { return s.kind == watch.Added },
}

var edit = harm{
	name: "drift-edit",
	do: func(ctx context.Context, b *bed, place int, namespace, object string) error {
		patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:"edited"}}}`, changeKey)
		_, err := b.members[place].objects.Resource(deployments).Namespace(namespace).Patch(ctx, object, types.MergePatchType, []byte(patch), metav1.PatchOptions{FieldManager: "somebody"})
		return err
	},
	harmed: func(s sight) bool { return s.change < 0 },
	healed: func(s sight) bool { return s.change >= 0 },
}

// driftIdle is from before the request that harms an object to the watch that
// shows it well again, one at a time, in turns with a raw loop that watches
// and applies.
func driftIdle(b *bed) {
	both := b.drifting("drift")
	for _, h := range []harm{deletion, edit} {
		var took [2][]time.Duration
		for i := range size(150, 40) {
			for n, k := range both {
				took[n] = append(took[n], k.hurt(b.t.Context(), h, i%clusters, i))
			}
		}
		o, r := bench.Distributed(took[0]), bench.Distributed(took[1])
		b.report(bench.Result{Name: h.name + "-p99", Value: o.P99, Unit: "ms", Limit: r.P99, Aim: "< 50 ms", Ours: &o, Raw: &r})
	}
}

// driftLoaded deletes objects on each cluster while 500 others are changed on
// all, by Atoll and then by the raw client, in turns.
func driftLoaded(b *bed) {
	b.settle()
	const app = "load"
	most := workers[len(workers)-1]
	b.delivery(app, objects)
	b.rawDelivery(app, objects, most)
	both := b.drifting("loaded")
	var took [2][]time.Duration
	for change := 1; change <= size(2, 1); change++ {
		inline := manifests(app, objects, change)
		took[0] = append(took[0], both[0].under(app, change, func(ctx context.Context) error { return b.change(ctx, app, inline) })...)
		bodies := make([][]byte, objects)
		for i := range bodies {
			bodies[i] = encoded(nameOf(app, i), change)
		}
		took[1] = append(took[1], both[1].under(app, change, func(ctx context.Context) error { return b.applyAll(ctx, app, bodies, most) })...)
	}
	o, r := bench.Distributed(took[0]), bench.Distributed(took[1])
	b.report(bench.Result{
		Name: "drift-loaded-ratio", Value: o.P99, Unit: "ms", Limit: r.P99, Aim: "<= 1.3 of raw", Ours: &o, Raw: &r,
		Notes: map[string]float64{"p50Ratio": o.P50 / r.P50},
	})
}

// kept are the objects that one side keeps as they should be.
type kept struct {
	b              *bed
	namespace, app string
	sights         *sights
	mend           func(sight) // the raw loop; nil where agents do it
	mu             sync.Mutex
	injuries       map[patient]*injury
}

type patient struct {
	place int
	name  string
}

type injury struct {
	harm   harm
	harmed bool
	healed chan time.Time
}

// drifting has both sides keep objects of the same names: Atoll first.
func (b *bed) drifting(app string) [2]*kept {
	b.t.Helper()
	b.settle()
	ours, raw := b.keep(project, app), b.keep(rawSpace, app)
	b.deploy(app, manifests(app, drifters, 0))
	for i := range drifters {
		b.must(b.applyEverywhere(b.t.Context(), nameOf(app, i), 0))
	}
	for _, k := range []*kept{ours, raw} {
		k.sights.await(func(s *sights) bool { return s.everywhere(app+"-", drifters, 0) })
	}
	time.Sleep(quiet)
	var mending sync.WaitGroup
	b.t.Cleanup(mending.Wait)
	ctx, t := context.WithoutCancel(b.t.Context()), b.t // the watch shows it before the response does
	raw.mend = func(s sight) {
		mending.Go(func() {
			if err := b.members[s.place].apply(ctx, s.name, encoded(s.name, 0)); err != nil {
				t.Error(err)
			}
		})
	}
	for _, k := range []*kept{ours, raw} {
		k.sights.observe(k.see)
	}
	return [2]*kept{ours, raw}
}

func (b *bed) keep(namespace, app string) *kept {
	k := &kept{b: b, namespace: namespace, app: app, sights: b.watch(namespace), injuries: map[patient]*injury{}}
	b.t.Cleanup(k.sights.end)
	return k
}

func (k *kept) see(s sight) {
	k.mu.Lock()
	defer k.mu.Unlock()
	p := patient{s.place, s.name}
	in := k.injuries[p]
	switch {
	case in == nil:
	case !in.harmed && in.harm.harmed(s):
		in.harmed = true
		if k.mend != nil {
			k.mend(s)
		}
	case in.harmed && in.harm.healed(s):
		in.healed <- s.at
		delete(k.injuries, p)
	}
}

// hurt harms one object and says how long it was not well.
func (k *kept) hurt(ctx context.Context, h harm, place, i int) time.Duration {
	k.b.t.Helper()
	object := nameOf(k.app, i%drifters)
	in := &injury{harm: h, healed: make(chan time.Time, 1)}
	k.mu.Lock()
	k.injuries[patient{place, object}] = in
	k.mu.Unlock()
	start := time.Now()
	if err := h.do(ctx, k.b, place, k.namespace, object); err != nil {
		k.b.t.Error(fmt.Errorf("%s of %s: %w", h.name, object, err))
		return 0
	}
	select {
	case at := <-in.healed:
		return at.Sub(start)
	case <-time.After(patience):
		k.b.t.Error(fmt.Errorf("%s of %s in %s is not corrected", h.name, object, k.namespace))
		return patience
	}
}

// under hurts one object after another on each cluster while the load is
// delivered, and ends with it.
func (k *kept) under(app string, change int, load func(context.Context) error) []time.Duration {
	b := k.b
	b.t.Helper()
	loaded := b.watch(k.namespace)
	defer loaded.end()
	var mu sync.Mutex
	var took []time.Duration
	var all sync.WaitGroup
	over := make(chan struct{})
	for place := range b.members {
		all.Go(func() {
			for i := 0; !closed(over) && !b.t.Failed(); i++ {
				d := k.hurt(b.t.Context(), deletion, place, (change*drifters/3+i)%drifters)
				mu.Lock()
				took = append(took, d)
				mu.Unlock()
				time.Sleep(50 * time.Millisecond)
			}
		})
	}
	b.must(load(b.t.Context()))
	loaded.await(func(s *sights) bool { return s.everywhere(app+"-", objects, change) })
	close(over)
	all.Wait()
	time.Sleep(quiet)
	return took
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
