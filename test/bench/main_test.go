// Package bench_test measures the product by its real programs: a hub, five
// sandbox clusters and their agents. Each figure stands beside its raw limit,
// the same work done by the plainest client-go program, in turns in one run.
// Nothing is asserted about time. Without ATOLL_BENCH, which names figures or
// is "all", it measures nothing; `make bench` sets it.
package bench_test

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

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

// figure is one thing to measure, and the results that it reports.
type figure struct {
	name    string
	measure func(*bed)
	results []string
}

// figures are measured in this order: memory before anything was delivered,
// and the largest load last.
var figures = []figure{
	{"hub-memory", hubMemory, []string{"hub-memory"}},
	{"agent-memory", agentMemory, []string{"agent-memory"}},
	{"latency-5", latency, []string{"latency-5-p99"}},
	{"latency-5-idle", latencyIdle, []string{"latency-5-idle-p99"}},
	{"latency-5-busy", latencyBusy, []string{"latency-5-busy-p99"}},
	{"drift", driftIdle, []string{"drift-delete-p99", "drift-edit-p99"}},
	{"throughput-500x5", throughput, []string{"throughput-500x5", "cpu-500x5", "writes-per-object-cluster"}},
	{"drift-loaded", driftLoaded, []string{"drift-loaded-ratio"}},
}

// joiningFigure has ten clusters of its own.
var joiningFigure = figure{joinFigure, join, []string{joinFigure, "hub-memory-10"}}

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == bareArgument {
		os.Exit(runBare())
	}
	code := m.Run()
	if err := summarize(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// reported are the results of this run, of whatever bed.
var reported []bench.Result

// summarize prints one table of all that was asked for, and what of it could
// not be measured: one figure that fails takes no other with it.
func summarize(w io.Writer) error {
	var failed []string
	for _, f := range slices.Concat([]figure{joiningFigure}, figures, deliveryFigures) {
		wanted := chosen(f.name)
		if slices.ContainsFunc(deliveryFigures, func(d figure) bool { return d.name == f.name }) {
			wanted = named(f.name)
		}
		for _, name := range f.results {
			if wanted && !slices.ContainsFunc(reported, func(r bench.Result) bool { return r.Name == name }) {
				failed = append(failed, name)
			}
		}
	}
	if len(reported)+len(failed) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	if err := bench.Table(w, reported); err != nil {
		return err
	}
	if len(failed) > 0 {
		fmt.Fprintf(w, "not measured, for what is said above: %s\n", strings.Join(failed, ", "))
	}
	return nil
}

// TestTheChosenFiguresAreFigures would catch a name in BENCH= that measures nothing.
func TestTheChosenFiguresAreFigures(t *testing.T) {
	for name := range strings.SplitSeq(os.Getenv(which), ",") {
		known := slices.ContainsFunc(slices.Concat(figures, deliveryFigures), func(f figure) bool { return f.name == name })
		if name != "" && name != "all" && name != joinFigure && !known {
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
			t.Run(f.name, func(t *testing.T) { b.in(t, f.measure) })
		}
	}
}
