package edge

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// Cut says what happens to what a partition stops.
type Cut string

// Hang is what a real partition does: nothing arrives, and nobody is told.
// Reset is what a firewall that rejects does.
const (
	Open  Cut = ""
	Hang  Cut = "hang"
	Reset Cut = "reset"
)

// Condition is the state of one line.
type Condition struct {
	Cut Cut
	// Delay is added on each way, and Jitter, at random between none and all
	// of it, on top.
	Delay, Jitter time.Duration
	// Bandwidth is in bits per second each way; 0 is unlimited.
	Bandwidth int64
}

// Line is one direction of dialling, in or out, with every connection that
// was made over it.
type Line struct {
	mu        sync.Mutex
	condition Condition
	changed   chan struct{} // closed at every change
	crossings map[*crossing]struct{}
}

func newLine() *Line {
	return &Line{changed: make(chan struct{}), crossings: map[*crossing]struct{}{}}
}

// Set puts a condition in force for the connections that are there, too.
func (l *Line) Set(c Condition) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c == l.condition {
		return
	}
	l.condition = c
	close(l.changed)
	l.changed = make(chan struct{})
	if c.Cut == Reset {
		for x := range l.crossings {
			x.abort()
		}
	}
}

func (l *Line) now() (Condition, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.condition, l.changed
}

// add refuses a crossing of a line that rejects.
func (l *Line) add(x *crossing) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.condition.Cut == Reset {
		return false
	}
	l.crossings[x] = struct{}{}
	return true
}

func (l *Line) drop(x *crossing) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.crossings, x)
}

func (l *Line) abortAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for x := range l.crossings {
		x.abort()
	}
}

// pass waits until the line is not cut.
func (l *Line) pass(ctx context.Context) error {
	for {
		condition, changed := l.now()
		if condition.Cut != Hang {
			return ctx.Err()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// roundTrip is what making a connection costs on this line.
func (c Condition) roundTrip() time.Duration { return c.delay() + c.delay() }

func (c Condition) delay() time.Duration {
	if c.Jitter <= 0 {
		return c.Delay
	}
	return c.Delay + rand.N(c.Jitter)
}

// sending is how long n bytes occupy the line.
func (c Condition) sending(n int) time.Duration {
	if c.Bandwidth <= 0 {
		return 0
	}
	return time.Duration(float64(n) * 8 / float64(c.Bandwidth) * float64(time.Second))
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
