package sandbox

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
)

// Cluster is one Kubernetes cluster of a fleet.
type Cluster struct {
	fleet *Fleet
	dir   string

	mu    sync.Mutex // guards what follows: components start side by side
	state State
	ended map[string]<-chan struct{}
}

// Name is the cluster's name in its fleet.
func (c *Cluster) Name() string { return c.state.Spec.Name }

// State is what was recorded of the cluster when it was looked up or started.
func (c *Cluster) State() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.state
	s.Processes = maps.Clone(s.Processes)
	return s
}

// layOut writes everything that a cluster needs before its first start. The
// state comes last: a folder without it is not a cluster.
func (c *Cluster) layOut() error {
	// Left by a layout that was interrupted; its state.json never came to be.
	if err := os.RemoveAll(c.dir); err != nil {
		return err
	}
	for _, dir := range []string{c.dir, c.path("logs"), c.path("etcd")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	if err := writePKI(c.path("pki"), c.state); err != nil {
		return err
	}
	if err := c.writeKubeconfigs(); err != nil {
		return err
	}
	if err := c.writeEgress(); err != nil {
		return err
	}
	return writeState(c.path("state.json"), c.state)
}

// Start starts what does not run, and returns when the cluster is ready.
func (c *Cluster) Start(ctx context.Context) error {
	unlock, err := c.fleet.lock()
	if err != nil {
		return err
	}
	defer unlock()
	if err := c.reload(); err != nil {
		return err
	}
	if err := c.fleet.syncEdge(ctx); err != nil {
		return err
	}
	return c.run(ctx)
}

// Kill ends the named components, or all of them, as a power cut would. The
// cluster's files and ports remain; Start brings it back.
func (c *Cluster) Kill(components ...string) error {
	return c.Inject(context.Background(), Fault{Kind: Killed, Components: components})
}

// reload takes what another command may have recorded since.
func (c *Cluster) reload() error {
	s, err := ReadState(c.path("state.json"))
	if err != nil {
		return fmt.Errorf("cluster %s: %w", c.Name(), err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state = s
	return nil
}

// end goes backwards, so that no component complains of one it needs.
func (c *Cluster) end(components []string) error {
	var errs []error
	for _, component := range slices.Backward(Components) {
		process, recorded := c.process(component)
		if !recorded || !slices.Contains(components, component) {
			continue
		}
		if err := process.kill(); err != nil {
			errs = append(errs, fmt.Errorf("cluster %s: %s: %w", c.Name(), component, err))
		}
	}
	return errors.Join(errs...)
}

func (c *Cluster) remove() error {
	if err := c.end(Components); err != nil {
		return err
	}
	if err := c.forgetNode(); err != nil {
		return err
	}
	if err := os.RemoveAll(c.dir); err != nil {
		return fmt.Errorf("remove cluster %s: %w", c.Name(), err)
	}
	return nil
}

func (c *Cluster) process(component string) (Process, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, ok := c.state.Processes[component]
	return p, ok
}

// Running says whether that component's process lives.
func (c *Cluster) Running(component string) bool {
	p, _ := c.process(component)
	return p.Alive()
}

// Status says how much of a cluster runs.
type Status string

// A cluster is Degraded when some of its components run and some do not.
const (
	Running  Status = "Running"
	Degraded Status = "Degraded"
	Stopped  Status = "Stopped"
)

// Status looks at the processes, not at what they answer.
func (c *Cluster) Status() Status {
	alive := 0
	for _, component := range c.Components() {
		if c.Running(component) {
			alive++
		}
	}
	switch alive {
	case len(c.Components()):
		return Running
	case 0:
		return Stopped
	}
	return Degraded
}
