package bench_test

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/discovery"

	"atoll.dev/atoll/internal/bench"
)

const objects = 500

// workers are the raw side's requests at once to each cluster. The best of
// these in a first round is what Atoll is measured against.
var workers = []int{4, 8, 16}

// work is what one delivery took.
type work struct {
	took   time.Duration
	whole  time.Duration // until it is quiet: what is written by the clock goes on for so long
	usage  usage         // beyond what is used when nothing is asked for
	writes bench.Writes  // to the hub's store
}

// clockDriven is what the hub writes by the clock and not by what is delivered:
// leases, an application's status at most once a second, a cluster's report at
// most every five minutes.
var clockDriven = []string{"leases", "applications/status", "clusters/status"}

// throughput delivers 500 new Deployments to five clusters, in turns with the
// raw client: how fast, at what cost, and with how many writes at the hub.
func throughput(b *bed) {
	b.settle()
	time.Sleep(quiet)
	b.idle = b.idleUsage()
	most := b.best()
	rounds := size(3, 1)
	var last work
	var ours, raw, oursCPU, rawCPU []float64
	notes := map[string]float64{"workers": float64(most), "rounds": float64(rounds)}
	for round := range rounds {
		r := b.rawDelivery(fmt.Sprintf("raw%d", round), objects, most)
		o := b.delivery(fmt.Sprintf("big%d", round), objects)
		last = o
		rate := func(w work) float64 { return float64(objects*clusters) / w.took.Seconds() }
		ours, raw = append(ours, rate(o)), append(raw, rate(r))
		oursCPU, rawCPU = append(oursCPU, o.usage.total().Seconds()), append(rawCPU, r.usage.total().Seconds())
		b.t.Logf("round %d: ours %.1f s %+v, raw %.1f s %+v", round, o.took.Seconds(), o.usage, r.took.Seconds(), r.usage)
		notes["idleCPUASecond"] = b.idle.total().Seconds()
		notes["hubCPU"], notes["agentsCPU"] = o.usage.hub.Seconds(), o.usage.agents.Seconds()
		notes["membersCPU"], notes["rawMembersCPU"] = o.usage.members.Seconds(), r.usage.members.Seconds()
	}
	b.report(bench.Result{Name: "throughput-500x5", Value: bench.Median(ours), Unit: "objects/s", Limit: bench.Median(raw), Aim: ">= 0.8 of raw", Notes: notes})
	b.report(bench.Result{Name: "cpu-500x5", Value: bench.Median(oursCPU), Unit: "CPU s", Limit: bench.Median(rawCPU), Aim: "<= 1.5 of raw", Notes: notes})
	b.reportWrites(last, b.delivery("few", objects/5))
}

// reportWrites is by how much more the hub wrote for 500 objects on five
// clusters than for 100, by object; what the clock drives stands apart.
func (b *bed) reportWrites(many, few work) {
	b.t.Logf("writes at the hub: %v for %d objects, %v for %d", many.writes, objects, few.writes, objects/5)
	clockMany, restMany := many.writes.Take(clockDriven...)
	clockFew, restFew := few.writes.Take(clockDriven...)
	b.report(bench.Result{
		Name: "writes-per-object-cluster", Unit: "writes", Aim: "0",
		Value: float64(restMany-restFew) / (objects * clusters * 4 / 5),
		Notes: map[string]float64{
			"writes500x5": float64(restMany), "byTheClock500x5": float64(clockMany), "seconds500x5": many.whole.Seconds(),
			"writes100x5": float64(restFew), "byTheClock100x5": float64(clockFew), "seconds100x5": few.whole.Seconds(),
		},
	})
}

// best finds how many requests at once are the fastest for the raw side.
func (b *bed) best() int {
	best, shortest := 0, time.Duration(0)
	for _, n := range workers {
		w := b.rawDelivery(fmt.Sprintf("try%d", n), objects/5, n)
		if best == 0 || w.took < shortest {
			best, shortest = n, w.took
		}
	}
	return best
}

// delivery is by Atoll, from one write at the hub.
func (b *bed) delivery(app string, n int) work {
	inline := manifests(app, n, 0)
	return b.timed(project, app, n, func(context.Context) error { b.deploy(app, inline); return nil })
}

// rawDelivery applies to all clusters side by side.
func (b *bed) rawDelivery(app string, n, workers int) work {
	bodies := make([][]byte, n)
	for i := range bodies {
		bodies[i] = encoded(nameOf(app, i), 0)
	}
	return b.timed(rawSpace, app, n, func(ctx context.Context) error { return b.applyAll(ctx, app, bodies, workers) })
}

func (b *bed) applyAll(ctx context.Context, app string, bodies [][]byte, workers int) error {
	var all errgroup.Group
	for _, m := range b.members {
		all.Go(func() error {
			var one errgroup.Group
			one.SetLimit(workers)
			for i, body := range bodies {
				one.Go(func() error { return m.apply(ctx, nameOf(app, i), body) })
			}
			return one.Wait()
		})
	}
	return all.Wait()
}

// timed measures until every member's watch shows every object, and its cost
// until the members' controllers have seen them all and it is quiet again.
func (b *bed) timed(namespace, app string, n int, deliver func(context.Context) error) work {
	b.t.Helper()
	s := b.watch(namespace)
	defer s.end()
	before, writes := b.used(), b.writes()
	start := time.Now()
	b.must(deliver(b.t.Context()))
	last := s.await(func(s *sights) bool { return s.everywhere(app+"-", n, 0) })
	w := work{took: last.Sub(start)}
	b.await("the controllers of the members", func() bool { return b.observed(namespace, app, n) })
	time.Sleep(quiet) // reports, saved state: all of it is the cost of the delivery
	w.whole = time.Since(start)
	w.usage = b.used().since(before).less(b.idle, w.whole)
	w.writes = b.writes().Since(writes)
	return w
}

// quiet is longer than anything is put off after a delivery.
const quiet = 3 * time.Second

// await asks now and then.
func (b *bed) await(what string, ok func() bool) {
	b.t.Helper()
	for limit := time.Now().Add(patience); !ok(); time.Sleep(time.Second) {
		if time.Now().After(limit) {
			b.t.Fatalf("still waiting for %s", what)
		}
	}
}

// observed asks for one object only, the last to be made: controllers work in turns.
func (b *bed) observed(namespace, app string, n int) bool {
	for _, m := range b.members {
		d, err := m.objects.Resource(deployments).Namespace(namespace).Get(b.t.Context(), nameOf(app, n-1), metav1.GetOptions{})
		b.must(err)
		seen, _, err := unstructured.NestedInt64(d.Object, "status", "observedGeneration")
		b.must(err)
		if seen < d.GetGeneration() {
			return false
		}
	}
	return true
}

// writes are all that the hub's API server ever wrote.
func (b *bed) writes() bench.Writes {
	b.t.Helper()
	hub, err := discovery.NewDiscoveryClientForConfig(b.fleet.Hub.Config())
	b.must(err)
	metrics, err := hub.RESTClient().Get().AbsPath("/metrics").DoRaw(b.t.Context())
	b.must(err)
	writes, err := bench.CountWrites(bytes.NewReader(metrics))
	b.must(err)
	return writes
}
