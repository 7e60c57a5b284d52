package hub

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"atoll.dev/atoll/api/v1alpha1"
)

// pulse turns any number of changes of a name into at most one event a period,
// the first after the time to settle, and bounds the events of all names together.
type pulse[T client.Object] struct {
	events chan event.TypedGenericEvent[T]
	period time.Duration
	// settle is how long the first change of a name waits for those that come
	// with it; zero for none.
	settle time.Duration
	limit  *rate.Limiter
	make   func(types.NamespacedName) T

	mu      sync.Mutex
	pending map[types.NamespacedName]struct{}
	last    map[types.NamespacedName]time.Time
	swept   time.Time
	wake    chan struct{}
}

func newPulse[T client.Object](period time.Duration, perSecond int, make_ func(types.NamespacedName) T) *pulse[T] {
	return &pulse[T]{
		events:  make(chan event.TypedGenericEvent[T], 64),
		period:  period,
		limit:   rate.NewLimiter(rate.Limit(perSecond), perSecond),
		make:    make_,
		pending: map[types.NamespacedName]struct{}{},
		last:    map[types.NamespacedName]time.Time{},
		wake:    make(chan struct{}, 1),
	}
}

// add never blocks.
func (p *pulse[T]) add(name types.NamespacedName) {
	p.mu.Lock()
	p.pending[name] = struct{}{}
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *pulse[T]) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
		case <-timer.C:
		}
		due, wait := p.take(time.Now())
		for _, name := range due {
			if p.limit.Wait(ctx) != nil {
				return
			}
			select {
			case p.events <- event.TypedGenericEvent[T]{Object: p.make(name)}:
			case <-ctx.Done():
				return
			}
		}
		if wait > 0 {
			timer.Reset(wait)
		}
	}
}

// take removes the names that are due and says when the next one is.
func (p *pulse[T]) take(now time.Time) (due []types.NamespacedName, wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name := range p.pending {
		if _, known := p.last[name]; !known && p.settle > 0 {
			p.last[name] = now.Add(p.settle - p.period)
		}
		if rest := p.period - now.Sub(p.last[name]); rest > 0 {
			if wait == 0 || rest < wait {
				wait = rest
			}
			continue
		}
		due = append(due, name)
		delete(p.pending, name)
		p.last[name] = now
	}
	p.forget(now)
	return due, wait
}

// forget drops, once a period, what no longer holds anything back: names come
// from agents, and they must not fill the hub.
func (p *pulse[T]) forget(now time.Time) {
	if now.Sub(p.swept) < p.period {
		return
	}
	p.swept = now
	for name, last := range p.last {
		if now.Sub(last) >= p.period {
			delete(p.last, name)
		}
	}
}

func clusterNamed(n types.NamespacedName) *v1alpha1.Cluster {
	return &v1alpha1.Cluster{ObjectMeta: metav1.ObjectMeta{Name: n.Name}}
}

func applicationNamed(n types.NamespacedName) *v1alpha1.Application {
	return &v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{Namespace: n.Namespace, Name: n.Name}}
}
