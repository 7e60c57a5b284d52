package worker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"atoll.dev/atoll/internal/render"
	"atoll.dev/atoll/internal/render/class"
)

// Pool renders in its workers. It is safe for concurrent use.
type Pool struct {
	command []string
	limits  Limits
	idle    time.Duration
	slots   chan struct{}

	mu      sync.Mutex
	waiting []*process
	closed  bool
}

// Options of a Pool.
type Options struct {
	// Command starts a worker: a program with Verb.
	Command []string
	// Size is how many renders run at once; default 2.
	Size int
	// Idle is how long an unused worker is kept; default one minute.
	Idle time.Duration
	// Limits of one render; default DefaultLimits.
	Limits Limits
}

// NewPool starts nothing before there is something to render. Close ends it.
func NewPool(o Options) *Pool {
	if o.Size == 0 {
		o.Size = 2
	}
	if o.Idle == 0 {
		o.Idle = time.Minute
	}
	if o.Limits == (Limits{}) {
		o.Limits = DefaultLimits
	}
	return &Pool{command: o.Command, limits: o.Limits, idle: o.Idle, slots: make(chan struct{}, o.Size)}
}

// Fault is that rendering itself did not work: it says nothing about the
// source, and the same may succeed later.
type Fault struct{ Err error }

func (f *Fault) Error() string { return f.Err.Error() }

// Unwrap gives the cause.
func (f *Fault) Unwrap() error { return f.Err }

// maxServed ends a worker that served so many: what a library keeps for ever
// goes with it.
const maxServed = 500

// Render renders a folder of the tree in dir. An error that is neither a *Fault
// nor of the context is for the owner of the tree to mend.
func (p *Pool) Render(ctx context.Context, dir string, in render.Inputs) (render.Output, error) {
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	case <-ctx.Done():
		return render.Output{}, fmt.Errorf("wait for a turn to render %s: %w", in.Path, ctx.Err())
	}
	w, err := p.take()
	if err != nil {
		return render.Output{}, &Fault{err}
	}
	answer, err := w.exchange(ctx, request{Dir: dir, In: in, Limits: p.limits})
	if err != nil {
		return render.Output{}, err
	}
	p.put(w)
	switch {
	case answer.Fault != "":
		return render.Output{}, &Fault{errors.New(answer.Fault)}
	case answer.Unfit:
		return render.Output{}, &class.Unfit{Err: errors.New(answer.Err)}
	case answer.Err != "":
		return render.Output{}, errors.New(answer.Err)
	}
	return answer.Out, nil
}

// take gives an idle worker, or a new one.
func (p *Pool) take() (*process, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, errors.New("rendering has ended: the hub is stopping")
	}
	if n := len(p.waiting); n > 0 {
		w := p.waiting[n-1]
		p.waiting = p.waiting[:n-1]
		w.retire.Stop()
		return w, nil
	}
	return start(p.command)
}

func (p *Pool) put(w *process) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w.served++; p.closed || w.served >= maxServed {
		w.end()
		return
	}
	p.waiting = append(p.waiting, w)
	w.retire = time.AfterFunc(p.idle, func() { p.drop(w) })
}

// drop ends a worker if it is still idle.
func (p *Pool) drop(w *process) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, other := range p.waiting {
		if other == w {
			p.waiting = append(p.waiting[:i], p.waiting[i+1:]...)
			w.end()
			return
		}
	}
}

// Idle is how many workers wait.
func (p *Pool) Idle() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.waiting)
}

// Close ends idle workers, and others once they have answered.
func (p *Pool) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, w := range p.waiting {
		w.retire.Stop()
		w.end()
	}
	p.waiting = nil
}
