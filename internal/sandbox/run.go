package sandbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"atoll.dev/atoll/internal/sandbox/realnode"
)

// StartTimeout bounds how long a cluster may take to become ready: it is far
// beyond the few seconds of an idle machine, for the sake of busy ones.
const StartTimeout = 3 * time.Minute

// run starts the components that are dead and waits until the cluster is
// ready. The order saves work, not correctness: a component that finds its
// server missing would only retry.
func (c *Cluster) run(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, StartTimeout)
	defer cancel()
	if err := c.paused(); err != nil {
		return err
	}
	if err := c.endWithAPIServer(); err != nil {
		return err
	}
	c.setFaults(without(c.Faults(), Killed))
	if err := c.save(); err != nil {
		return err
	}
	c.mu.Lock()
	clear(c.ended) // what was killed since is not news
	c.mu.Unlock()
	probe, err := newProbe(c)
	if err != nil {
		return err
	}
	stages := []struct {
		components []string
		ready      func(context.Context) error
	}{
		{[]string{Etcd}, probe.etcdListens},
		{[]string{APIServer}, probe.apiServerReady},
		{c.Components()[2:], probe.clusterReady},
	}
	for _, stage := range stages {
		if err := c.startAll(stage.components); err != nil {
			return err
		}
		if err := c.await(ctx, stage.ready); err != nil {
			return err
		}
	}
	return nil
}

// endWithAPIServer ends, where the API server has ended, what elsewhere would
// have lost its leadership meanwhile and begun anew. Here nobody competes, so
// that they would go on, each watch waiting for up to a minute before its next
// attempt, and work for as long on a view of the cluster that is old.
func (c *Cluster) endWithAPIServer() error {
	if c.Running(APIServer) {
		return nil
	}
	return c.end([]string{ControllerManager, Scheduler})
}

func (c *Cluster) startAll(components []string) error {
	var group errgroup.Group
	for _, component := range components {
		group.Go(func() error { return c.start(component) })
	}
	return group.Wait()
}

func (c *Cluster) start(component string) error {
	if c.Running(component) {
		return nil
	}
	binary, err := findBinary()
	if err != nil {
		return err
	}
	child := command{
		path: binary,
		log:  c.logPath(component),
		args: append([]string{"component", component, "--"}, c.arguments(component)...),
		env:  frugal(),
	}
	if l := c.fleet.lifeline; l != nil {
		child.lifeline = l.read
		if component == Etcd || component == Node { // one of them is enough, and the node keeps its own longest
			child.env = append(child.env, LifelineRemoveVariable+"="+c.fleet.dir)
		}
	}
	if component == Node {
		if err := CheckRealNodes(); err != nil {
			return fmt.Errorf("cluster %s: %w", c.Name(), err)
		}
		child.namespaces = realnode.Namespaces
	}
	process, ended, err := spawn(child)
	if err != nil {
		return fmt.Errorf("start %s of cluster %s: %w", component, c.Name(), err)
	}
	return c.record(component, process, ended)
}

func (c *Cluster) record(component string, process Process, ended <-chan struct{}) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state.Processes == nil {
		c.state.Processes = map[string]Process{}
	}
	c.state.Processes[component] = process
	c.ended[component] = ended
	return writeState(c.path("state.json"), c.state)
}

// errNotYet is what a probe returns to be asked again.
var errNotYet = errors.New("not ready yet")

// await asks until ready says yes, a component has died, or time is up.
func (c *Cluster) await(ctx context.Context, ready func(context.Context) error) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		last := ready(ctx)
		if last == nil {
			return nil
		}
		if dead := c.firstDead(); dead != "" {
			return fmt.Errorf("cluster %s: %s ended: %s (log: %s)", c.Name(), dead, c.lastWords(dead), c.logPath(dead))
		}
		if !errors.Is(last, errNotYet) {
			return fmt.Errorf("cluster %s: %w", c.Name(), last)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("cluster %s is not ready (logs: %s): %w: %w", c.Name(), c.path("logs"), last, ctx.Err())
		case <-tick.C:
		}
	}
}

// firstDead is a component that this run started and that has ended since.
func (c *Cluster) firstDead() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, component := range Components {
		select {
		case <-c.ended[component]:
			return component
		default: // also when it is not ours: a nil channel never yields
		}
	}
	return ""
}

func (c *Cluster) logPath(component string) string { return c.path("logs", component+".log") }

// lastWords is the last line of a component's log.
func (c *Cluster) lastWords(component string) string { return lastLines(c.logPath(component), 1)[0] }
