package apply

import (
	"context"
	"sync"
	"time"

	"atoll.dev/atoll/internal/desired"
)

// task is a unit of work: preparing an entry, or bringing one object to what
// it should be. Equal tasks never run at the same time.
type task struct {
	entry  desired.Key
	object ID // zero for the entry itself
}

func (t task) isEntry() bool { return t.object == ID{} }

// priority orders tasks; corrections go ahead of deliveries.
type priority int

const (
	urgent priority = iota
	ordinary
)

// queue hands out tasks, urgent ones first, each to one worker at a time. A
// task added while it runs is handed out again afterwards.
type queue struct {
	mu      sync.Mutex
	ready   [2][]task
	waiting map[task]priority // in ready
	running map[task]bool
	again   map[task]priority // added while running
	timers  map[task]*timer
	wake    chan struct{}
	closed  bool
}

type timer struct {
	at   time.Time
	stop *time.Timer
}

func newQueue() *queue {
	return &queue{
		waiting: map[task]priority{}, running: map[task]bool{}, again: map[task]priority{},
		timers: map[task]*timer{}, wake: make(chan struct{}, 1),
	}
}

// Add makes t due now.
func (q *queue) Add(t task, p priority) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.add(t, p)
}

func (q *queue) add(t task, p priority) {
	if q.closed {
		return
	}
	if q.running[t] {
		if old, ok := q.again[t]; !ok || p < old {
			q.again[t] = p
		}
		return
	}
	if old, ok := q.waiting[t]; ok && old <= p {
		return
	}
	q.waiting[t] = p
	q.ready[p] = append(q.ready[p], t)
	q.signal()
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// AddAfter makes t due after d, unless it already is due earlier.
func (q *queue) AddAfter(t task, p priority, d time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	at := time.Now().Add(d)
	if old, ok := q.timers[t]; ok {
		if old.at.Before(at) {
			return
		}
		old.stop.Stop()
	}
	if q.closed {
		return
	}
	entry := &timer{at: at}
	entry.stop = time.AfterFunc(d, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		if q.timers[t] == entry {
			delete(q.timers, t)
			q.add(t, p)
		}
	})
	q.timers[t] = entry
}

// Get waits for a task; false when ctx ends.
func (q *queue) Get(ctx context.Context) (task, bool) {
	for {
		if t, ok := q.take(); ok {
			return t, true
		}
		select {
		case <-ctx.Done():
			return task{}, false
		case <-q.wake:
		}
	}
}

func (q *queue) take() (task, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for p := range q.ready {
		for len(q.ready[p]) > 0 {
			t := q.ready[p][0]
			q.ready[p] = q.ready[p][1:]
			if at, ok := q.waiting[t]; !ok || at != priority(p) {
				continue // moved to the other list since
			}
			delete(q.waiting, t)
			q.running[t] = true
			if len(q.waiting) > 0 {
				q.signal() // another worker may go on
			}
			return t, true
		}
	}
	return task{}, false
}

// Done ends the run of t.
func (q *queue) Done(t task) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.running, t)
	if p, ok := q.again[t]; ok {
		delete(q.again, t)
		q.add(t, p)
	}
}

// Close stops the timers; tasks added later are dropped.
func (q *queue) Close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	for _, t := range q.timers {
		t.stop.Stop()
	}
}

// backoff doubles from first to most, n being the failures so far.
func backoff(n int, first, most time.Duration) time.Duration {
	d := first
	for range min(n, 30) {
		if d *= 2; d >= most {
			return most
		}
	}
	return min(d, most)
}
