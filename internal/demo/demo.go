package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"atoll.dev/atoll/internal/sandbox"
)

// DefaultDir is where the demo lies when nobody says.
const DefaultDir = ".demo"

// Options say where the demo lies and what it is made of.
type Options struct {
	// Dir holds everything the demo makes; Down removes it.
	Dir string
	// Bin is the folder with atoll and atoll-agent.
	Bin string
	// Shop is the folder of the sample application.
	Shop string
	// Out takes the status and what to try, Words what is going on.
	Out, Words io.Writer
}

// Demo is the demo in one folder.
type Demo struct {
	Options
	dir   string
	began time.Time
}

// New is the demo in o.Dir, running or not.
func New(o Options) (*Demo, error) {
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("find the demo's folder: %w", err)
	}
	return &Demo{Options: o, dir: dir, began: time.Now()}, nil
}

func (d *Demo) path(parts ...string) string {
	return filepath.Join(append([]string{d.dir}, parts...)...)
}
func (d *Demo) fleet() *sandbox.Fleet   { return sandbox.New(d.path("clusters")) }
func (d *Demo) kubeconfig() string      { return d.path("hub", "admin.kubeconfig") }
func (d *Demo) program(n string) string { return filepath.Join(d.Bin, n) }

// say prints one line of progress with the time since the beginning.
func (d *Demo) say(format string, args ...any) {
	fmt.Fprintf(d.Words, "%5.1fs  %s\n", time.Since(d.began).Seconds(), fmt.Sprintf(format, args...))
}

// Up brings up whatever does not run and returns when the shop is healthy. What
// runs is left as it is.
func (d *Demo) Up(ctx context.Context) error {
	if err := d.check(); err != nil {
		return err
	}
	unlock, err := d.lock()
	if err != nil {
		return err
	}
	defer unlock()
	r, again, err := d.prepare()
	if err != nil {
		return err
	}
	if again {
		d.say("the demo in %s is there: bringing up what does not run", d.Dir)
	} else {
		d.say("a hub, %d clusters and an agent in each in %s: about a minute and 2 GB of memory", len(members), d.Dir)
	}
	if err := d.startHub(ctx, &r); err != nil {
		return err
	}
	d.say("starting %d clusters: etcd, kube-apiserver, controllers, scheduler and simulated nodes each", len(members))
	if err := d.fleet().Up(ctx, specs()); err != nil {
		return err
	}
	d.say("clusters ready: %s", strings.Join(names(), ", "))
	if err := d.joinAll(ctx); err != nil {
		return err
	}
	if err := d.deliver(ctx); err != nil {
		return err
	}
	return d.show(ctx)
}

// check finds what is missing before anything is started.
func (d *Demo) check() error {
	for _, program := range []string{"atoll", "atoll-agent"} {
		if _, err := os.Stat(d.program(program)); err != nil {
			return fmt.Errorf("%s is not built: run `make build`", d.program(program))
		}
	}
	if _, err := os.Stat(filepath.Join(d.Shop, "project.yaml")); err != nil {
		return fmt.Errorf("the sample application is not in %s: run this at the root of the checkout, or give --shop", d.Shop)
	}
	return nil
}

// prepare makes the folder and chooses the ports.
func (d *Demo) prepare() (record, bool, error) {
	r, again, err := d.load()
	if err != nil || again {
		return r, again, err
	}
	if found, err := os.ReadDir(d.dir); err == nil && len(found) > 0 {
		return r, false, fmt.Errorf("%s holds something that is not a demo: choose another folder with --dir", d.Dir)
	}
	if err := os.MkdirAll(d.path("logs"), 0o700); err != nil {
		return r, false, fmt.Errorf("make the demo's folder: %w", err)
	}
	if r.API, err = freeAddress(7443); err != nil {
		return r, false, err
	}
	if r.Agents, err = freeAddress(7444); err != nil {
		return r, false, err
	}
	return r, false, errors.Join(d.save(r), d.writeEnvironment())
}

// Down ends what the demo started, and removes its folder.
func (d *Demo) Down() error {
	_, there, err := d.load()
	if err != nil {
		return err
	}
	if !there {
		d.say("there is no demo in %s", d.Dir)
		return nil
	}
	unlock, err := d.lock()
	if err != nil {
		return err
	}
	defer unlock()
	r, _, err := d.load()
	if err != nil {
		return err
	}
	if err := errors.Join(r.Hub.Stop(grace), d.fleet().Down()); err != nil {
		return fmt.Errorf("end the demo in %s: %w", d.Dir, err)
	}
	if err := os.RemoveAll(d.dir); err != nil {
		return fmt.Errorf("remove the demo's folder: %w", err)
	}
	d.say("the hub, the agents and the clusters have ended, and %s is removed", d.Dir)
	return nil
}

// Kill ends one part as a crash would; Up brings it back.
func (d *Demo) Kill(part string) error {
	r, there, err := d.load()
	if err != nil {
		return err
	}
	if !there {
		return fmt.Errorf("there is no demo in %s", d.Dir)
	}
	kind, name, _ := strings.Cut(part, "/")
	known := slices.Contains(names(), name)
	switch {
	case part == "hub":
		err = r.Hub.Kill()
	case kind == "agent" && known:
		err = d.killAgent(name)
	case kind == "cluster" && known:
		var c *sandbox.Cluster
		if c, err = d.fleet().Cluster(name); err == nil {
			err = c.Kill()
		}
	default:
		return fmt.Errorf("there is no %q to kill: name hub, agent/NAME or cluster/NAME, where NAME is one of %s", part, strings.Join(names(), ", "))
	}
	if err != nil {
		return fmt.Errorf("kill %s: %w", part, err)
	}
	if kind == "agent" {
		d.say("%s is dead; its cluster starts it again", part)
		return nil
	}
	d.say("%s is dead; `make demo` brings it back", part)
	return nil
}

// killAgent kills every process that is a pod of the cluster: they are agents.
func (d *Demo) killAgent(cluster string) error {
	c, err := d.fleet().Cluster(cluster)
	if err != nil {
		return err
	}
	agents, err := c.PodProcesses()
	if err == nil && len(agents) == 0 {
		err = errors.New("it does not run")
	}
	for _, agent := range agents {
		err = errors.Join(err, agent.Kill())
	}
	return err
}

func names() []string {
	out := make([]string, 0, len(members))
	for _, m := range members {
		out = append(out, m.name)
	}
	return out
}
