package sandbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// For is when a fault ends that lasts d from now; 0 means never.
func For(d time.Duration) time.Time {
	if d == 0 {
		return time.Time{}
	}
	return time.Now().Add(d)
}

// Inject puts a fault in force, and in place of one of its kind. A second
// time is the same as once.
func (c *Cluster) Inject(ctx context.Context, f Fault) error {
	f, err := f.complete(time.Now().UTC())
	if err != nil {
		return fmt.Errorf("cluster %s: %w", c.Name(), err)
	}
	return c.changeFaults(ctx, func() error {
		switch f.Kind {
		case Killed:
			if err := c.end(f.Components); err != nil {
				return err
			}
			c.forgetPaused(f.Components)
		case Paused:
			if err := c.signal(unix.SIGSTOP, f.Components); err != nil {
				return err
			}
		}
		c.setFaults(put(c.Faults(), f))
		return nil
	})
}

// Heal ends what is wrong with the cluster's network and clock.
func (c *Cluster) Heal(ctx context.Context) error {
	return c.changeFaults(ctx, func() error {
		c.setFaults(without(c.Faults(), Partitioned, Slowed, Skewed))
		return nil
	})
}

// Resume lets paused components go on.
func (c *Cluster) Resume(ctx context.Context) error {
	return c.changeFaults(ctx, func() error { return c.lift(ctx, Paused) })
}

// Faults are those in force.
func (c *Cluster) Faults() []Fault {
	now := time.Now()
	return slices.DeleteFunc(slices.Clone(c.State().Faults), func(f Fault) bool { return f.over(now) && f.Kind != Killed && f.Kind != Paused })
}

// changeFaults records what change made of the faults, and returns when the
// edge knows.
func (c *Cluster) changeFaults(ctx context.Context, change func() error) error {
	unlock, err := c.fleet.lock()
	if err != nil {
		return err
	}
	defer unlock()
	if err := c.reload(); err != nil {
		return err
	}
	if err := change(); err != nil {
		return err
	}
	if err := c.save(); err != nil {
		return err
	}
	return c.fleet.syncEdge(ctx)
}

// lift ends a kind of fault. The fleet is locked.
func (c *Cluster) lift(ctx context.Context, kind FaultKind) error {
	switch kind {
	case Killed:
		return c.run(ctx)
	case Paused:
		if err := c.signal(unix.SIGCONT, Components); err != nil {
			return err
		}
	}
	c.setFaults(without(c.Faults(), kind))
	return c.save()
}

// endOverdue ends what is over and says when to look again, which is never
// when the time is zero.
func (f *Fleet) endOverdue(ctx context.Context, now time.Time) (next time.Time, err error) {
	if next, err = f.nextEnd(); err != nil || next.IsZero() || next.After(now) {
		return next, err
	}
	unlock, err := f.lock()
	if err != nil {
		return next, err
	}
	defer unlock()
	clusters, err := f.Clusters()
	if err != nil {
		return next, err
	}
	var errs []error
	for _, c := range clusters {
		for _, fault := range c.State().Faults {
			if !fault.over(now) {
				continue
			}
			if err := c.lift(ctx, fault.Kind); err != nil {
				errs = append(errs, fmt.Errorf("end what is wrong with cluster %s (%s): %w", c.Name(), fault, err))
			}
		}
	}
	// By way of ourselves: only this process has the lines.
	if err := errors.Join(append(errs, f.syncEdge(ctx))...); err != nil {
		return next, err
	}
	return f.nextEnd()
}

func (f *Fleet) nextEnd() (next time.Time, err error) {
	states, err := f.states()
	for _, s := range states {
		for _, fault := range s.Faults {
			if !fault.Until.IsZero() && (next.IsZero() || fault.Until.Before(next)) {
				next = fault.Until
			}
		}
	}
	return next, err
}

func (c *Cluster) setFaults(faults []Fault) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state.Faults = faults
}

func (c *Cluster) save() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return writeState(c.path("state.json"), c.state)
}

// forgetPaused keeps of a pause what was not killed since.
func (c *Cluster) forgetPaused(killed []string) {
	faults := slices.Clone(c.Faults())
	for i := range faults {
		if faults[i].Kind == Paused {
			faults[i].Components = slices.DeleteFunc(slices.Clone(faults[i].Components), func(name string) bool { return slices.Contains(killed, name) })
		}
	}
	c.setFaults(slices.DeleteFunc(faults, func(f Fault) bool { return f.Kind == Paused && len(f.Components) == 0 }))
}

// paused is an error that says how to go on, or nil.
func (c *Cluster) paused() error {
	for _, f := range c.Faults() {
		if f.Kind == Paused {
			return fmt.Errorf("cluster %s is %s: `atoll-sandbox resume %s` first", c.Name(), f, c.Name())
		}
	}
	return nil
}

// signal reaches the named components that run.
func (c *Cluster) signal(signal unix.Signal, components []string) error {
	var errs []error
	for _, component := range components {
		process, _ := c.process(component)
		if err := process.signal(signal); err != nil {
			errs = append(errs, fmt.Errorf("cluster %s: %s: %w", c.Name(), component, err))
		}
	}
	return errors.Join(errs...)
}
