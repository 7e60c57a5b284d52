package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

// Fleet is the clusters of one directory.
type Fleet struct {
	dir string
	// lifeline, when set, ties the clusters to this process: the components
	// hold its read end and go when the write end, which only we hold, closes.
	lifeline *lifeline
	// OnBusy, when set, is called before waiting for another command that is
	// changing the fleet.
	OnBusy func()
}

type lifeline struct{ read, write *os.File }

// New is the fleet in dir, which need not exist yet. Its clusters outlive this
// process.
func New(dir string) *Fleet { return &Fleet{dir: absolute(dir)} }

// NewBound is a fleet in dir whose clusters die, and whose directory is
// removed, when this process ends, however it ends.
func NewBound(dir string) (*Fleet, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("create lifeline: %w", err)
	}
	return &Fleet{dir: absolute(dir), lifeline: &lifeline{read: read, write: write}}, nil
}

// absolute matters because components are given paths and a fleet may be
// used from another directory later.
func absolute(dir string) string {
	if abs, err := filepath.Abs(dir); err == nil {
		return abs
	}
	return dir
}

// Dir is the fleet's directory.
func (f *Fleet) Dir() string { return f.dir }

// Up makes each cluster exist and run, and returns when all are ready. A
// component that runs is left as it is, a dead one is started again. On error
// the clusters that did come up stay up.
func (f *Fleet) Up(ctx context.Context, specs []ClusterSpec) error {
	if err := validateAll(specs); err != nil {
		return err
	}
	unlock, err := f.lock()
	if err != nil {
		return err
	}
	defer unlock()
	var clusters []*Cluster
	for _, spec := range specs {
		c, err := f.ensure(spec)
		if err != nil {
			return err
		}
		clusters = append(clusters, c)
	}
	if err := f.syncEdge(ctx); err != nil {
		return err
	}
	var group errgroup.Group
	for _, c := range clusters {
		group.Go(func() error { return c.run(ctx) })
	}
	return group.Wait()
}

func validateAll(specs []ClusterSpec) error {
	if len(specs) == 0 {
		return errors.New("no clusters named")
	}
	seen := map[string]bool{}
	for _, spec := range specs {
		if err := spec.Validate(); err != nil {
			return err
		}
		if seen[spec.Name] {
			return fmt.Errorf("cluster %s is named twice", spec.Name)
		}
		seen[spec.Name] = true
	}
	return nil
}

// ensure returns the recorded cluster, or lays a new one out on disk.
func (f *Fleet) ensure(spec ClusterSpec) (*Cluster, error) {
	c, err := f.Cluster(spec.Name)
	if err == nil {
		return c, spec.conflict(c.state.Spec)
	}
	if !errors.Is(err, ErrNoCluster) {
		return nil, err
	}
	states, err := f.states()
	if err != nil {
		return nil, err
	}
	ports, err := choosePorts(portsTaken(states))
	if err != nil {
		return nil, err
	}
	err = machineRanges().claim(filepath.Join(f.dir, spec.Name), func(index int) error {
		c = f.cluster(State{Spec: spec.complete(), Index: index, Ports: ports, Created: time.Now().UTC()})
		return c.layOut()
	})
	if err != nil {
		return nil, fmt.Errorf("lay out cluster %s: %w", spec.Name, err)
	}
	return c, nil
}

// ErrNoCluster means that the fleet has no cluster of that name.
var ErrNoCluster = errors.New("no such cluster")

func (f *Fleet) cluster(s State) *Cluster {
	return &Cluster{fleet: f, dir: filepath.Join(f.dir, s.Spec.Name), state: s, ended: map[string]<-chan struct{}{}}
}

// Cluster is the cluster of that name, running or not. The error is
// ErrNoCluster when it was never brought up.
func (f *Fleet) Cluster(name string) (*Cluster, error) {
	if !clusterName.MatchString(name) {
		return nil, fmt.Errorf("%w: %q", ErrNoCluster, name)
	}
	s, err := ReadState(filepath.Join(f.dir, name, "state.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %q in %s", ErrNoCluster, name, f.dir)
	}
	if err != nil {
		return nil, err
	}
	return f.cluster(s), nil
}

// Clusters are all clusters, in order of creation.
func (f *Fleet) Clusters() ([]*Cluster, error) {
	states, err := f.states()
	if err != nil {
		return nil, err
	}
	slices.SortFunc(states, func(a, b State) int { return a.Created.Compare(b.Created) })
	var clusters []*Cluster
	for _, s := range states {
		clusters = append(clusters, f.cluster(s))
	}
	return clusters, nil
}

// Down ends the named clusters, or all when none is named, and removes their
// files. It ends only processes that it finds recorded.
func (f *Fleet) Down(names ...string) error {
	if _, err := os.Stat(f.dir); errors.Is(err, fs.ErrNotExist) && len(names) == 0 {
		return nil
	}
	unlock, err := f.lock()
	if err != nil {
		return err
	}
	defer unlock()
	clusters, err := f.named(names)
	if err != nil {
		return err
	}
	var group errgroup.Group
	for _, c := range clusters {
		group.Go(c.remove)
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return f.releaseEdge(context.Background())
}

func (f *Fleet) named(names []string) ([]*Cluster, error) {
	if len(names) == 0 {
		return f.Clusters()
	}
	var clusters []*Cluster
	for _, name := range names {
		c, err := f.Cluster(name)
		if err != nil {
			return nil, err
		}
		clusters = append(clusters, c)
	}
	return clusters, nil
}
