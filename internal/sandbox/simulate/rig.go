package simulate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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
	// InFlight is how many applications may be created and not yet ready at a
	// time; default 8.
	InFlight int
	// Changes is how many times one application is changed, one after the other;
	// ChangesAll is the same for one that is on all clusters, default Changes.
	Changes, ChangesAll int
	// Nodes is how many nodes each member has.
	Nodes int
	// Idle is how long nothing is done, to see what that costs.
	Idle time.Duration
	// Light has agents that are linked and nothing else (light.go), and measures
	// their joining and being idle alone: the way to ten thousand.
	Light bool
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

func (o Options) withDefaults() Options {
	if o.InFlight == 0 {
		o.InFlight = 8
	}
	if o.ChangesAll == 0 {
		o.ChangesAll = o.Changes
	}
	o.Fanout = min(o.Fanout, o.Agents)
	return o
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
	// HubMemory is what is private to the hub afterwards, in MB; HubFiles is the
	// part of it that is unchanged pages of files.
	HubMemory float64 `json:"hubMemory"`
	HubFiles  float64 `json:"hubFiles"`
	// Applies are how many server-side applies the members saw.
	Applies int `json:"applies"`
}

// Result is a whole run.
type Result struct {
	Agents   int     `json:"agents"`
	Apps     int     `json:"apps"`
	Fanout   int     `json:"fanout"`
	InFlight int     `json:"inFlight"`
	Phases   []Phase `json:"phases"`
	// Store is what the hub has on disk before it is killed and started again.
	Store Store `json:"store"`
}

// Phase is one of that name, if it was done.
func (r *Result) Phase(name string) (Phase, bool) {
	for _, p := range r.Phases {
		if p.Name == name {
			return p, true
		}
	}
	return Phase{}, false
}

type rig struct {
	Options
	hub *hubprocess.Hub
	// pprof is the host:port of the hub's profiles; empty without them.
	pprof   string
	members []*member
	result  Result
	agents  sync.WaitGroup

	mu       sync.Mutex
	watching map[string]func(member int, version string) // by application
}

// slots are the groups that clusters fall into; an application takes one.
func (r *rig) slots() int { return max(1, r.Agents/max(1, r.Fanout)) }

// Run does the whole and tells what it took: when a phase fails, that of those
// before. Everything it starts ends with it.
func Run(ctx context.Context, o Options) (*Result, error) {
	o = o.withDefaults()
	r := &rig{Options: o, watching: map[string]func(int, string){}}
	r.result = Result{Agents: o.Agents, Apps: o.Apps, Fanout: o.Fanout, InFlight: o.InFlight}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	if err := r.startHub(ctx); err != nil {
		return &r.result, err
	}
	defer r.hub.Stop()
	if err := yield(); err != nil {
		return &r.result, err
	}
	agentsCtx, stopAgents := context.WithCancel(ctx)
	defer func() {
		stopAgents()
		r.agents.Wait()
		for _, m := range r.members {
			m.close()
		}
	}()
	for _, step := range r.steps(agentsCtx) {
		if err := r.phase(ctx, step.name, step.do); err != nil {
			return &r.result, fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return &r.result, nil
}

func (r *rig) startHub(ctx context.Context) error {
	ports, err := hubprocess.FreePorts(3)
	if err != nil {
		return err
	}
	args := []string{"--listen", ports[0], "--agent-listen", ports[1]}
	if r.Profiles != "" {
		r.pprof = ports[2]
		args = append(args, "--pprof", r.pprof)
	}
	r.Progress("starting the hub")
	r.hub, err = hubprocess.Start(ctx, r.Hub, r.Dir, args...)
	return err
}

// step is a phase to be done; what it returns is per change, where there are
// several.
type step struct {
	name string
	do   func(context.Context) (*bench.Distribution, error)
}

// steps are all phases in their order. Agents live as long as agents does.
func (r *rig) steps(agents context.Context) []step {
	alone := func(do func(context.Context) error) func(context.Context) (*bench.Distribution, error) {
		return func(ctx context.Context) (*bench.Distribution, error) { return nil, do(ctx) }
	}
	idle := step{"idle", alone(func(ctx context.Context) error { return sleep(ctx, r.Idle) })}
	steps := []step{
		{"register", alone(r.register)},
		{"join", alone(func(ctx context.Context) error { return r.join(ctx, agents) })},
	}
	if r.Light {
		// What comes with joining, such as the last writes, is no idling.
		return append(steps, step{"settle", alone(func(ctx context.Context) error { return sleep(ctx, r.Idle) })}, idle)
	}
	return append(steps,
		step{"create", r.create},
		step{"change", func(ctx context.Context) (*bench.Distribution, error) {
			return r.change(ctx, appName(0), r.Changes, r.slotMembers(0))
		}},
		step{"change-all", r.changeAll},
		idle,
		step{"store", alone(r.measureStore)},
		step{"restart", alone(r.restart)},
	)
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
		Writes: after.revision - before.revision, HubMemory: after.memory.Private, HubFiles: after.memory.Files, Applies: after.applies - before.applies,
	}
	r.result.Phases = append(r.result.Phases, p)
	r.Progress("%-10s %7.2f s  each %s  hub %.1f CPU-s, %.0f MB (%.0f of files)  rig %.1f CPU-s  %d writes  %d applies",
		name, p.Took, words(each), p.HubCPU, p.HubMemory, p.HubFiles, p.RigCPU, p.Writes, p.Applies)
	return nil
}

func (r *rig) measureStore(context.Context) (err error) {
	r.result.Store, err = stored(filepath.Join(r.Dir, "data"))
	return err
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
