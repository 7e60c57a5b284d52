package bench_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"atoll.dev/atoll/internal/bench"
)

// latency is at two changes a second, latencyIdle at one in three seconds,
// latencyBusy at ten a second.
func latency(b *bed)     { b.latency("latency-5-p99", 500*time.Millisecond, size(300, 60)) }
func latencyIdle(b *bed) { b.latency("latency-5-idle-p99", 3300*time.Millisecond, idleSamples()) }
func latencyBusy(b *bed) { b.latency("latency-5-busy-p99", 100*time.Millisecond, size(300, 100)) }

// full, set to anything, takes three hundred samples of the idle latency too.
const full = "BENCH_FULL"

// idleSamples are few without it: three hundred take 17 minutes.
func idleSamples() int {
	if os.Getenv(full) != "" {
		return 300
	}
	return size(30, 6)
}

// latency is from before a change is written, to the hub or to the five
// clusters in parallel, to the watch of the last one that shows it. Both
// sides go on at once, half a period apart, whatever the other still does.
func (b *bed) latency(name string, period time.Duration, samples int) {
	b.settle()
	ctx := b.t.Context()
	app := strings.TrimSuffix(name, "-p99")
	object := nameOf(app, 0)
	// Both objects exist before the first change is timed.
	ours, raw := b.watch(project), b.watch(rawSpace)
	defer ours.end()
	defer raw.end()
	b.deploy(app, manifests(app, 1, 0))
	b.must(b.applyEverywhere(ctx, object, 0))
	for _, s := range []*sights{ours, raw} {
		s.await(func(s *sights) bool { return s.everywhere(object, 1, 0) })
	}
	start := time.Now().Add(period)
	var sides sync.WaitGroup
	var tookOurs, tookRaw []time.Duration
	sides.Go(func() {
		tookOurs = b.paced(ours, start, period, samples, func(change int) error { return b.change(ctx, app, manifests(app, 1, change)) })
	})
	sides.Go(func() {
		tookRaw = b.paced(raw, start.Add(period/2), period, samples, func(change int) error { return b.applyEverywhere(ctx, object, change) })
	})
	sides.Wait()
	if b.t.Failed() {
		b.t.FailNow()
	}
	o, r := bench.Distributed(tookOurs), bench.Distributed(tookRaw)
	b.report(bench.Result{
		Name: name, Value: o.P99, Unit: "ms", Limit: r.P99, Aim: "< 100 ms", Ours: &o, Raw: &r,
		Notes: map[string]float64{"changesASecond": 1 / period.Seconds()},
	})
}

// applyEverywhere is the raw side: to all clusters in parallel.
func (b *bed) applyEverywhere(ctx context.Context, name string, change int) error {
	body := encoded(name, change)
	var all errgroup.Group
	for _, m := range b.members {
		all.Go(func() error { return m.apply(ctx, name, body) })
	}
	return all.Wait()
}

// paced makes the changes 1 to samples at their times and returns how long
// each took. One that is late because the one before was slow counts from when
// it was due: waiting is part of what a user sees.
func (b *bed) paced(s *sights, start time.Time, period time.Duration, samples int, change func(int) error) []time.Duration {
	arrivals := bench.NewArrivals(samples, len(b.members))
	s.observe(func(e sight) {
		if e.change > 0 {
			arrivals.Seen(e.place, e.change-1, e.at)
		}
	})
	for i := range samples {
		due := start.Add(time.Duration(i) * period)
		if wait := time.Until(due); wait > 0 {
			time.Sleep(wait)
			due = time.Now()
		}
		arrivals.Sent(due)
		if err := change(i + 1); err != nil {
			b.t.Error(fmt.Errorf("make change %d: %w", i+1, err))
			return nil
		}
	}
	select {
	case <-arrivals.All():
	case <-time.After(patience):
		b.t.Errorf("%d of %d changes arrived", len(arrivals.Took()), samples)
	}
	return arrivals.Took()
}
