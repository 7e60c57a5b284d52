// Package scale_test measures a hub with far more clusters than fit on a
// machine: the agents are real, their members are in memory. Nothing is asserted
// about time. Without ATOLL_SCALE, which names runs, it measures nothing; `make
// bench-scale` sets it.
package scale_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"atoll.dev/atoll/internal/bench"
	"atoll.dev/atoll/internal/sandbox/simulate"
	"atoll.dev/atoll/internal/version"
)

const (
	// which names the runs, separated by commas: fleet, idle, growth.
	which = "ATOLL_SCALE"
	// sizes changes what they are of, as in "agents=300,apps=300,fanout=30".
	sizes = "ATOLL_SCALE_SIZES"
	// profiles is a folder for the hub's profiles of each phase.
	profiles = "ATOLL_SCALE_PROFILES"
	// resultsDir is where results are written, as seen from this package.
	resultsDir = "../../bench/results"
)

// run is one fleet that is measured.
type run struct {
	agents, apps, fanout, inFlight, changes int
	light                                   bool
}

// Each run ends by itself after this: figures of what it did until then are
// written all the same.
const longest = 40 * time.Minute

// growing are fleets that differ in size alone: each cluster has as many
// applications, and each application as many clusters.
func growing() []run {
	var all []run
	for _, n := range []int{100, 300, 1000, 3000} {
		all = append(all, run{agents: n, apps: n, fanout: 20, inFlight: 8, changes: 20})
	}
	return all
}

func TestScale(t *testing.T) {
	if os.Getenv(which) == "" {
		t.Skipf("set %s to measure", which)
	}
	runs, err := runsOf(os.Getenv(which), os.Getenv(sizes))
	if err != nil {
		t.Fatal(err)
	}
	var results []bench.Result
	for _, r := range runs {
		t.Run(fmt.Sprintf("%d agents", r.agents), func(t *testing.T) { results = append(results, r.measure(t)...) })
	}
	slices.SortStableFunc(results, func(a, b bench.Result) int { return strings.Compare(stem(a.Name), stem(b.Name)) })
	fmt.Println()
	if err := bench.Table(os.Stdout, results); err != nil {
		t.Error(err)
	}
}

// stem is a figure's name without its size, so that a table shows how one grows.
func stem(name string) string {
	words := strings.Split(name, "-")
	return strings.Join(slices.DeleteFunc(words, func(w string) bool { _, err := strconv.Atoi(w); return err == nil }), "-")
}

func runsOf(names, sizes string) ([]run, error) {
	var runs []run
	for name := range strings.SplitSeq(names, ",") {
		switch name {
		case "fleet":
			runs = append(runs, run{agents: 1000, apps: 1000, fanout: 100, inFlight: 8, changes: 100})
		case "idle":
			runs = append(runs, run{agents: 10000, light: true})
		case "growth":
			runs = append(runs, growing()...)
		default:
			return nil, fmt.Errorf("there is no run %q: fleet, idle or growth", name)
		}
	}
	for i := range runs {
		if err := runs[i].resize(sizes); err != nil {
			return nil, err
		}
	}
	return runs, nil
}

func (r *run) resize(sizes string) error {
	fields := map[string]*int{"agents": &r.agents, "apps": &r.apps, "fanout": &r.fanout, "inflight": &r.inFlight, "changes": &r.changes}
	for pair := range strings.FieldsFuncSeq(sizes, func(c rune) bool { return c == ',' }) {
		key, value, _ := strings.Cut(pair, "=")
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 || fields[key] == nil {
			return fmt.Errorf("%s: %q is not one of agents, apps, fanout, inflight and changes with a number", sizes, pair)
		}
		*fields[key] = n
	}
	return nil
}

// measure writes the figures of what was done, even where something failed.
func (r run) measure(t *testing.T) []bench.Result {
	program, err := filepath.Abs("../../bin/atoll")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), longest)
	defer cancel()
	began := time.Now()
	done, err := simulate.Run(ctx, simulate.Options{
		Agents: r.agents, Apps: r.apps, Fanout: r.fanout, InFlight: r.inFlight, Light: r.light,
		Changes: r.changes, ChangesAll: max(1, r.changes/5), Nodes: 3, Idle: time.Minute,
		Hub: program, Dir: t.TempDir(), Profiles: os.Getenv(profiles), Version: version.Version, Log: slog.New(slog.DiscardHandler),
		Progress: func(format string, args ...any) {
			fmt.Printf("%4.0f s  %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
		},
	})
	if err != nil {
		t.Error(err)
	}
	if done == nil {
		return nil
	}
	if err := spent(done); err != nil {
		t.Error(err)
	}
	results := figuresOf(done, r.light)
	for i := range results {
		results[i].Date, results[i].Machine = time.Now().UTC(), bench.ThisMachine()
		results[i] = results[i].Complete()
		if err := bench.Write(resultsDir, results[i]); err != nil {
			t.Error(err)
		}
	}
	return results
}

// spent prints who used the cores, by phase: what the rig has, the hub has not.
func spent(done *simulate.Result) error {
	fmt.Printf("\n%d agents, %d applications on %d clusters each\n", done.Agents, done.Apps, done.Fanout)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "PHASE\tS\tHUB CPU-S\tRIG CPU-S\tHUB CORES\tRIG CORES\tWRITES\tAPPLIES\tHUB MB\t")
	for _, p := range done.Phases {
		if p.Name == "store" {
			continue // a look at files
		}
		fmt.Fprintf(w, "%s\t%.1f\t%.1f\t%.1f\t%.2f\t%.2f\t%d\t%d\t%.0f\t\n",
			p.Name, p.Took, p.HubCPU, p.RigCPU, p.HubCPU/p.Took, p.RigCPU/p.Took, p.Writes, p.Applies, p.HubMemory)
	}
	return w.Flush()
}

// figuresOf are the results of the phases that were done.
func figuresOf(done *simulate.Result, light bool) []bench.Result {
	var out []bench.Result
	add := func(phase, unit, name, aim string, value func(simulate.Phase) float64, more map[string]float64) {
		p, ok := done.Phase(phase)
		if !ok {
			return
		}
		notes := map[string]float64{
			"agents": float64(done.Agents), "apps": float64(done.Apps), "fanout": float64(done.Fanout),
			"seconds": p.Took, "hubCPU": p.HubCPU, "rigCPU": p.RigCPU, "writes": float64(p.Writes), "applies": float64(p.Applies),
		}
		for k, v := range more {
			notes[k] = v
		}
		out = append(out, bench.Result{Name: name, Value: value(p), Unit: unit, Aim: aim, Ours: p.Each, Notes: notes})
	}
	n := done.Agents
	took := func(p simulate.Phase) float64 { return p.Took }
	if light {
		add("idle", "MB", fmt.Sprintf("idle-%d-memory", n), "< 2048 MB at 10000", func(p simulate.Phase) float64 { return p.HubMemory }, nil)
		add("idle", "cores", fmt.Sprintf("idle-%d-cpu", n), "< 1 at 10000", func(p simulate.Phase) float64 { return p.HubCPU / p.Took }, nil)
		return out
	}
	add("join", "s", fmt.Sprintf("join-%d", n), "< 30 s at 1000", took, nil)
	creating, _ := done.Phase("create")
	add("create", "ms", sized("placement-p90", n), "< 1000 ms", func(p simulate.Phase) float64 { return p.Each.P90 },
		map[string]float64{"inFlight": float64(done.InFlight), "perSecond": float64(done.Apps+1) / max(creating.Took, 1)})
	p99 := func(p simulate.Phase) float64 { return p.Each.P99 }
	add("change", "ms", sized(fmt.Sprintf("sync-%d-p99", done.Fanout), n), "< 1000 ms", p99, nil)
	add("change-all", "ms", fmt.Sprintf("sync-%d-p99", n), "< 2000 ms at 1000", p99, nil)
	most := func(simulate.Phase) (highest float64) {
		for _, p := range done.Phases {
			highest = max(highest, p.HubMemory)
		}
		return highest
	}
	idle, _ := done.Phase("idle")
	add("idle", "MB", fmt.Sprintf("hub-memory-%d", n), "< 1024 MB at 1000", most, map[string]float64{"idle": idle.HubMemory, "files": idle.HubFiles})
	s := done.Store
	add("store", "MB", fmt.Sprintf("store-%d", n), "< 100 MB at 1000", func(simulate.Phase) float64 { return s.Total() },
		map[string]float64{"database": s.Database, "log": s.Log, "content": s.Content, "other": s.Other})
	add("restart", "s", fmt.Sprintf("restart-%d", n), "< 15 s at 1000", took, nil)
	return out
}

// sized is a figure's name, with the number of agents unless it is the usual.
func sized(name string, agents int) string {
	if agents == 1000 {
		return name
	}
	return fmt.Sprintf("%s-%d", name, agents)
}
