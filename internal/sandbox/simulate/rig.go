package simulate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"atoll.dev/atoll/internal/bench"
	"atoll.dev/atoll/internal/sandbox/hubprocess"
)

// Options are the size of the fleet and what is done to it.
type Options struct {
	// Agents and Apps are how many; each application is placed on Fanout clusters.
	Agents, Apps, Fanout int
	// Changes is how many times one application is changed, one after the other.
	Changes int
	// Nodes is how many nodes each member has.
	Nodes int
	// Idle is how long nothing is done, to see what that costs.
	Idle time.Duration
	// Hub is the program that is started as `atoll hub` in Dir.
	Hub, Dir string
	// Profiles is the folder that takes the hub's CPU and heap of each phase; empty
	// for none.
	Profiles string
	// Version is what the agents say they are.
	Version string
	Log     *slog.Logger
	// Progress is told in words what is going on.
	Progress func(format string, args ...any)
}

// Phase is one thing that was done, and what it took.
type Phase struct {
	Name string `json:"name"`
	// Took is the time until all of it was done, in seconds.
	Took float64 `json:"took"`
	// Each is per change, in milliseconds, where there were several.
	Each *bench.Distribution `json:"each,omitempty"`
	// HubCPU and RigCPU are processor seconds spent meanwhile.
	HubCPU float64 `json:"hubCPU"`
	RigCPU float64 `json:"rigCPU"`
	// Writes are how many revisions the hub's store took.
	Writes int64 `json:"writes"`
	// HubMemory is what is private to the hub afterwards, in MB.
	HubMemory float64 `json:"hubMemory"`
	// Applies are how many server-side applies the members saw.
	Applies int `json:"applies"`
}

// Result is a whole run.
type Result struct {
	Agents int     `json:"agents"`
	Apps   int     `json:"apps"`
	Fanout int     `json:"fanout"`
	Phases []Phase `json:"phases"`
	// StoreMB is all that the hub keeps on disk, its write-ahead log among it.
	StoreMB float64 `json:"storeMB"`
}

type rig struct {
	Options
	hub *hubprocess.Hub
	// pprof is the host:port of the hub's profiles; empty without them.
	pprof   string
	members []*member
	result  Result

	mu       sync.Mutex
	watching map[string]func(member int, version string) // by application
}

// slots are the groups that clusters fall into; an application takes one.
func (r *rig) slots() int { return max(1, r.Agents/max(1, r.Fanout)) }

// Run does the whole and tells what it took. Everything it starts ends with it.
func Run(ctx context.Context, o Options) (*Result, error) {
	r := &rig{Options: o, watching: map[string]func(int, string){}}
	r.result = Result{Agents: o.Agents, Apps: o.Apps, Fanout: min(o.Fanout, o.Agents)}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ports, err := hubprocess.FreePorts(3)
	if err != nil {
		return nil, err
	}
	args := []string{"--listen", ports[0], "--agent-listen", ports[1]}
	if o.Profiles != "" {
		r.pprof = ports[2]
		args = append(args, "--pprof", r.pprof)
	}
	r.Progress("starting the hub")
	r.hub, err = hubprocess.Start(ctx, o.Hub, o.Dir, args...)
	if err != nil {
		return nil, err
	}
	defer r.hub.Stop()
	if err := r.project(ctx); err != nil {
		return nil, err
	}
	r.Progress("registering %d clusters", o.Agents)
	if err := r.register(ctx); err != nil {
		return nil, err
	}
	var agents *sync.WaitGroup
	agentsCtx, stopAgents := context.WithCancel(ctx)
	defer func() {
		stopAgents()
		if agents != nil {
			agents.Wait()
		}
		for _, m := range r.members {
			m.api.Close()
		}
	}()
	steps := []struct {
		name string
		do   func(context.Context) (*bench.Distribution, error)
	}{
		{"join", func(ctx context.Context) (*bench.Distribution, error) {
			agents = r.run(agentsCtx)
			return nil, r.allConnected(ctx)
		}},
		{"create", r.create},
		{"change", func(ctx context.Context) (*bench.Distribution, error) {
			return r.change(ctx, appName(0), r.slotMembers(0))
		}},
		{"change-all", r.changeAll},
		{"idle", func(ctx context.Context) (*bench.Distribution, error) { return nil, sleep(ctx, o.Idle) }},
		{"restart", r.restart},
	}
	for _, step := range steps {
		if err := r.phase(ctx, step.name, step.do); err != nil {
			return &r.result, fmt.Errorf("%s: %w", step.name, err)
		}
	}
	r.result.StoreMB, err = size(filepath.Join(o.Dir, "data"))
	return &r.result, err
}

// phase measures what do costs.
func (r *rig) phase(ctx context.Context, name string, do func(context.Context) (*bench.Distribution, error)) error {
	before, err := r.costs(ctx)
	if err != nil {
		return err
	}
	finish := r.profile(ctx, name)
	began := time.Now()
	each, err := do(ctx)
	took := time.Since(began)
	if err != nil {
		return errors.Join(err, finish())
	}
	after, err := r.costs(ctx)
	if err != nil {
		return errors.Join(err, finish())
	}
	if err := finish(); err != nil {
		return err
	}
	if before.pid != after.pid {
		before.hub = 0 // another process
	}
	p := Phase{
		Name: name, Took: took.Seconds(), Each: each, HubCPU: (after.hub - before.hub).Seconds(), RigCPU: (after.rig - before.rig).Seconds(),
		Writes: after.revision - before.revision, HubMemory: after.memory, Applies: after.applies - before.applies,
	}
	r.result.Phases = append(r.result.Phases, p)
	r.Progress("%-10s %7.2f s  each %s  hub %.1f CPU-s, %.0f MB  rig %.1f CPU-s  %d writes  %d applies", name, p.Took, words(each), p.HubCPU, p.HubMemory, p.RigCPU, p.Writes, p.Applies)
	return nil
}

func words(d *bench.Distribution) string {
	if d == nil {
		return "-"
	}
	return fmt.Sprintf("p50 %.0f p90 %.0f p99 %.0f max %.0f ms (%d)", d.P50, d.P90, d.P99, d.Max, d.Samples)
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// size is what the store takes on disk, in MB.
func size(dir string) (float64, error) {
	var total int64
	err := filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			total += info.Size()
		}
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("measure the hub's store: %w", err)
	}
	return float64(total) / (1 << 20), nil
}
