package bench_test

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"atoll.dev/atoll/internal/bench"
)

// latency is at two changes a second, latencyIdle at one in three seconds,
// latencyBusy at ten a second.
func latency(b *bed) {
	b.latency(pace{"latency-5", 500 * time.Millisecond, size(300, 60), false})
}

func latencyIdle(b *bed) {
	b.latency(pace{"latency-5-idle", 3300 * time.Millisecond, idleSamples(), false})
}

func latencyBusy(b *bed) {
	b.latency(pace{"latency-5-busy", 100 * time.Millisecond, size(300, 100), true})
}

// pace is how often a side changes its object.
type pace struct {
	name    string
	period  time.Duration
	samples int
	// turns has the sides change a hundred times each in turns. Both at once
	// would be two such loads, which is more than two cores can bear.
	turns bool
}

// turn is how many changes a side makes before it is the other's turn.
const turn = 100

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
// clusters in parallel, to the watch of the last one that shows it. Unless they
// take turns both sides go on at once, half a period apart, whatever the other
// still does.
func (b *bed) latency(p pace) {
	b.settle()
	ctx, object := b.t.Context(), nameOf(p.name, 0)
	// Both objects exist before the first change is timed.
	ours, raw := b.watch(project), b.watch(rawSpace)
	defer ours.end()
	defer raw.end()
	b.deploy(p.name, manifests(p.name, 1, 0))
	b.must(b.applyEverywhere(ctx, object, 0))
	for _, s := range []*sights{ours, raw} {
		s.await(func(s *sights) bool { return s.everywhere(object, 1, 0) })
	}
	sides := [2]*side{
		{sights: ours, make: func(change int) error { return b.change(ctx, p.name, manifests(p.name, 1, change)) }},
		{sights: raw, make: func(change int) error { return b.applyEverywhere(ctx, object, change) }},
	}
	if p.turns {
		for sides[1].made < p.samples {
			for _, s := range sides {
				time.Sleep(quiet) // what the other left to do
				b.paced(s, time.Now(), p.period, min(turn, p.samples-s.made))
			}
		}
	} else {
		start := time.Now().Add(p.period)
		var both sync.WaitGroup
		both.Go(func() { b.paced(sides[0], start, p.period, p.samples) })
		both.Go(func() { b.paced(sides[1], start.Add(p.period/2), p.period, p.samples) })
		both.Wait()
	}
	if b.t.Failed() {
		b.t.FailNow()
	}
	o, r := bench.Distributed(sides[0].took), bench.Distributed(sides[1].took)
	b.report(bench.Result{
		Name: p.name + "-p99", Value: o.P99, Unit: "ms", Limit: r.P99, Aim: "< 100 ms", Ours: &o, Raw: &r,
		Notes: map[string]float64{"changesASecond": 1 / p.period.Seconds()},
	})
}

// side is who changes an object, and what came of it.
type side struct {
	sights *sights
	make   func(change int) error
	made   int
	took   []time.Duration
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

// paced makes the next changes of a side at their times and adds how long each
// took. One that is late because the one before was slow counts from when it
// was due: waiting is part of what a user sees.
func (b *bed) paced(s *side, start time.Time, period time.Duration, changes int) {
	arrivals, before := bench.NewArrivals(changes, len(b.members)), s.made
	s.made += changes
	s.sights.observe(func(e sight) {
		if e.change > before {
			arrivals.Seen(e.place, e.change-before-1, e.at)
		}
	})
	for i := range changes {
		due := start.Add(time.Duration(i) * period)
		if wait := time.Until(due); wait > 0 {
			time.Sleep(wait)
			due = time.Now()
		}
		arrivals.Sent(due)
		if err := s.make(before + i + 1); err != nil {
			b.t.Error(fmt.Errorf("make change %d: %w", before+i+1, err))
			return
		}
	}
	select {
	case <-arrivals.All():
	case <-time.After(patience):
		b.t.Errorf("%d of %d changes arrived", len(arrivals.Took()), changes)
	}
	s.took = append(s.took, arrivals.Took()...)
}
