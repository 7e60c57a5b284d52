package bench

import (
	"sync"
	"time"
)

// Arrivals follows numbered changes of one object until each has arrived
// everywhere. A place that shows a later change has the earlier ones too: what
// was overtaken counts as arrived when that which overtook it did.
type Arrivals struct {
	mu      sync.Mutex
	sent    []time.Time
	reached []int // by place, the highest change seen; -1 before any
	took    []time.Duration
	arrived chan struct{}
	want    int
}

// NewArrivals expects the changes 0 to changes-1, in this order, at places.
func NewArrivals(changes, places int) *Arrivals {
	a := &Arrivals{reached: make([]int, places), arrived: make(chan struct{}), want: changes}
	for i := range a.reached {
		a.reached[i] = -1
	}
	return a
}

// Sent begins the next change; call it before the change is made.
func (a *Arrivals) Sent(at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sent = append(a.sent, at)
}

// Seen tells that a place shows a change.
func (a *Arrivals) Seen(place, change int, at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.reached[place] = max(a.reached[place], change)
	everywhere := a.reached[0]
	for _, r := range a.reached {
		everywhere = min(everywhere, r)
	}
	for len(a.took) <= everywhere && len(a.took) < len(a.sent) {
		a.took = append(a.took, at.Sub(a.sent[len(a.took)]))
		if len(a.took) == a.want {
			close(a.arrived)
		}
	}
}

// All is closed when the last change has arrived.
func (a *Arrivals) All() <-chan struct{} { return a.arrived }

// Took is how long each change needed until now.
func (a *Arrivals) Took() []time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]time.Duration(nil), a.took...)
}
