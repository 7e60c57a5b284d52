// Package bench_test measures the product by its real programs: a hub, five
// sandbox clusters and their agents. Each figure stands beside its raw limit,
// the same work done by the plainest client-go program, in turns in one run.
// Nothing is asserted about time. Without ATOLL_BENCH, which names figures or
// is "all", it measures nothing; `make bench` sets it.
package bench_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"atoll.dev/atoll/internal/bench"
)

const (
	// which names the figures to measure, separated by commas, or is "all".
	which = "ATOLL_BENCH"
	// quick, set to anything, takes smaller samples.
	quick = "BENCH_QUICK"
	// resultsDir is where results are written, as seen from this package.
	resultsDir = "../../bench/results"
)

type figure struct {
	name    string
	measure func(*bed)
}

// figures are measured in this order: memory before anything was delivered,
// and the largest load last.
var figures = []figure{
	{"hub-memory", hubMemory},
	{"agent-memory", agentMemory},
	{"latency-5", latency},
	{"latency-5-idle", latencyIdle},
	{"latency-5-busy", latencyBusy},
	{"drift", driftIdle},
	{"throughput-500x5", throughput},
	{"drift-loaded", driftLoaded},
}

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == bareArgument {
		os.Exit(runBare())
	}
	os.Exit(m.Run())
}

// TestTheChosenFiguresAreFigures would catch a name in BENCH= that measures nothing.
func TestTheChosenFiguresAreFigures(t *testing.T) {
	for name := range strings.SplitSeq(os.Getenv(which), ",") {
		if name != "" && name != "all" && name != joinFigure && !slices.ContainsFunc(figures, func(f figure) bool { return f.name == name }) {
			t.Errorf("there is no figure %q", name)
		}
	}
}

func TestFigures(t *testing.T) {
	if !slices.ContainsFunc(figures, func(f figure) bool { return chosen(f.name) }) {
		t.Skipf("set %s to measure", which)
	}
	b := newBed(t)
	for _, f := range figures {
		if chosen(f.name) {
			t.Run(f.name, func(t *testing.T) {
				began := time.Now()
				b.in(t, f.measure)
				t.Logf("measured in %.0f s", time.Since(began).Seconds())
			})
		}
	}
	fmt.Println()
	if err := bench.Table(os.Stdout, b.results); err != nil {
		t.Error(err)
	}
}
