// Package observed holds in memory what the agents say: per cluster the link's
// state and the last report, each with its age. It is derived state; a hub
// that starts has it empty until agents speak, and shows the stored reports
// with their age meanwhile. It does no I/O and reads no clock.
package observed

import (
	"maps"
	"slices"
	"sync"
	"time"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/report"
)

// Cluster is what is known of one cluster.
type Cluster struct {
	Name string
	// Connected is whether a link is open.
	Connected bool
	// Heard is when the agent last said anything; zero if never in this term.
	Heard time.Time
	// Since is when Connected took its value.
	Since time.Time
	// Reported is when the last report came, and whether it came in this
	// hub's term or was loaded from the store.
	Reported time.Time
	FromTerm bool
	// Desired is the digest the agent last confirmed.
	Desired desired.Digest
	States  map[desired.Key]report.State
	Facts   *v1alpha1.Facts
	// Skew is the agent's clock minus the hub's.
	Skew time.Duration
}

// State is the connection as of now: Stale when heartbeats are late.
func (c Cluster) State(now time.Time, heartbeat time.Duration) v1alpha1.ConnectionState {
	switch {
	case c.Connected && now.Sub(c.Heard) <= 3*heartbeat:
		return v1alpha1.Connected
	case c.Connected:
		return v1alpha1.Stale
	case c.Heard.IsZero() && !c.FromTerm && c.Reported.IsZero():
		return v1alpha1.Pending
	default:
		return v1alpha1.Disconnected
	}
}

// Change tells what an update touched.
type Change struct {
	Cluster string
	// Link is set when the connection opened or closed.
	Link bool
	// Facts is set when the inventory changed.
	Facts bool
	// Keys are the applications whose state changed.
	Keys []desired.Key
}

// Fleet is safe for concurrent use.
type Fleet struct {
	mu       sync.RWMutex
	clusters map[string]*Cluster
	notify   func(Change)
}

// New calls notify, which must not block, after every change.
func New(notify func(Change)) *Fleet {
	return &Fleet{clusters: map[string]*Cluster{}, notify: notify}
}

// Load enters a report from the store, for clusters not heard of in this term.
func (f *Fleet) Load(cluster string, at time.Time, states map[desired.Key]report.State) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.get(cluster)
	if c.FromTerm {
		return
	}
	c.Reported, c.States = at, states
}

// Connect enters an open link. The agent's states are unknown until it reports
// in full, so what was loaded stays marked as old.
func (f *Fleet) Connect(cluster string, now time.Time) {
	f.change(cluster, func(c *Cluster) Change {
		c.Connected, c.Since, c.Heard = true, now, now
		return Change{Link: true}
	})
}

// Disconnect enters a closed link.
func (f *Fleet) Disconnect(cluster string, now time.Time) {
	f.change(cluster, func(c *Cluster) Change {
		c.Connected, c.Since = false, now
		return Change{Link: true}
	})
}

// Heard enters a heartbeat. It notifies nobody: age is computed when read.
func (f *Fleet) Heard(cluster string, now time.Time, confirmed desired.Digest, skew time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.get(cluster)
	c.Heard, c.Desired, c.Skew = now, confirmed, skew
}

// Report enters r and returns whether its digest matches what is now held; if
// not, the agent must be asked for the whole.
func (f *Fleet) Report(cluster string, r report.Report, now time.Time) bool {
	matches := true
	f.change(cluster, func(c *Cluster) Change {
		base := c.States
		if !c.FromTerm {
			base = nil // what was loaded is no base for a delta
		}
		next := r.Apply(base)
		if report.Digest(next) != r.Digest {
			matches = false
			return Change{}
		}
		ch := Change{Keys: changedKeys(c.States, next, !c.FromTerm)}
		c.States, c.Reported, c.Heard, c.FromTerm = next, now, now, true
		if r.Facts != nil {
			c.Facts, ch.Facts = r.Facts, true
		}
		return ch
	})
	return matches
}

func changedKeys(old, next map[desired.Key]report.State, all bool) []desired.Key {
	var keys []desired.Key
	for k, s := range next {
		if o, ok := old[k]; all || !ok || o.Digest() != s.Digest() {
			keys = append(keys, k)
		}
	}
	for k := range old {
		if _, ok := next[k]; !ok {
			keys = append(keys, k)
		}
	}
	return keys
}

// Forget drops a cluster that was removed.
func (f *Fleet) Forget(cluster string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.clusters, cluster)
}

// Get is a copy of one cluster; its maps are never written again.
func (f *Fleet) Get(cluster string) Cluster {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if c := f.clusters[cluster]; c != nil {
		return *c
	}
	return Cluster{Name: cluster}
}

// Digest is the hash of the states held from this term, for heartbeats.
func (f *Fleet) Digest(cluster string) desired.Digest {
	c := f.Get(cluster)
	if !c.FromTerm {
		return ""
	}
	return report.Digest(c.States)
}

// Names are all clusters known, sorted.
func (f *Fleet) Names() []string {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return slices.Sorted(maps.Keys(f.clusters))
}

func (f *Fleet) get(cluster string) *Cluster {
	c := f.clusters[cluster]
	if c == nil {
		c = &Cluster{Name: cluster}
		f.clusters[cluster] = c
	}
	return c
}

func (f *Fleet) change(cluster string, fn func(*Cluster) Change) {
	f.mu.Lock()
	ch := fn(f.get(cluster))
	f.mu.Unlock()
	ch.Cluster = cluster
	if ch.Link || ch.Facts || len(ch.Keys) > 0 {
		f.notify(ch)
	}
}
