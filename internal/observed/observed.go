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
	// Confirmed tells that a report came over the link that is open: until
	// then the states are of an earlier one and may have changed since.
	Confirmed bool
	// Desired is the digest the agent last confirmed.
	Desired desired.Digest
	Facts   *v1alpha1.Facts
	// Skew is the agent's clock minus the hub's.
	Skew time.Duration

	// said are the states, digest is of them together: heartbeats compare it.
	said   said
	digest desired.Digest
	// edition counts the values that said took.
	edition uint64
}

// Of is the last word on an application.
func (c Cluster) Of(k desired.Key) (report.State, bool) {
	if w := c.said.of(k); w != nil {
		return w.State, true
	}
	return report.State{}, false
}

// States are the last words on all, by key; the caller's to alter.
func (c Cluster) States() map[desired.Key]report.State {
	states := make(map[desired.Key]report.State, len(c.said))
	for _, w := range c.said {
		states[w.Key] = w.State
	}
	return states
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
	// Facts is set when the inventory changed, First with the first report over a
	// link.
	Facts, First bool
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
	c.Reported, c.said = at, wordsOf(states)
}

// Connect enters an open link. The agent's states are unknown until it reports
// in full, so what is held stays marked as old.
func (f *Fleet) Connect(cluster string, now time.Time) {
	f.mu.Lock()
	c := f.get(cluster)
	c.Connected, c.Confirmed, c.Since, c.Heard = true, false, now, now
	f.mu.Unlock()
	f.notify(Change{Cluster: cluster, Link: true})
}

// Disconnect enters a closed link. A cluster that was forgotten meanwhile
// stays forgotten; so it is with all that an ending link still says.
func (f *Fleet) Disconnect(cluster string, now time.Time) {
	f.mu.Lock()
	c := f.clusters[cluster]
	if c != nil {
		c.Connected, c.Confirmed, c.Since = false, false, now
	}
	f.mu.Unlock()
	if c != nil {
		f.notify(Change{Cluster: cluster, Link: true})
	}
}

// Heard enters a heartbeat. It notifies nobody: age is computed when read.
func (f *Fleet) Heard(cluster string, now time.Time, confirmed desired.Digest, skew time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c := f.clusters[cluster]; c != nil {
		c.Heard, c.Desired, c.Skew = now, confirmed, skew
	}
}

// Report enters r and returns whether its digest matches what is now held; if
// not, the agent must be asked for the whole. The work is done outside the
// lock: a large report delays no other cluster.
func (f *Fleet) Report(cluster string, r report.Report, now time.Time) (matches bool) {
	for {
		base := f.Get(cluster)
		next := base.after(r)
		if next.digest != r.Digest || len(next.said) > report.MaxStates {
			return false
		}
		ch := Change{Cluster: cluster, Keys: changedKeys(base, next), Facts: r.Facts != nil, First: !base.Confirmed}
		entered, gone := f.enter(cluster, next, inventory(r, now), now)
		if gone {
			return true // nobody is left to tell
		}
		if entered {
			if ch.Facts || ch.First || len(ch.Keys) > 0 {
				f.notify(ch)
			}
			return true
		}
	}
}

// enter takes next over unless something else came between.
func (f *Fleet) enter(cluster string, next Cluster, facts *v1alpha1.Facts, now time.Time) (entered, gone bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.clusters[cluster]
	switch {
	case c == nil:
		return false, true
	case c.edition != next.edition:
		return false, false
	}
	c.said, c.digest = next.said, next.digest
	c.Reported, c.Heard, c.FromTerm, c.Confirmed = now, now, true, true
	c.edition++
	if facts != nil {
		c.Facts = facts
	}
	return true, false
}

// inventory is what a report brings, observed by the hub's clock: the agent's,
// by which it was, may be wrong, and its age is read by others.
func inventory(r report.Report, now time.Time) *v1alpha1.Facts {
	if r.Facts == nil {
		return nil
	}
	moved := *r.Facts
	if age := time.UnixMilli(r.At).Sub(moved.ObservedAt.Time); r.At != 0 {
		moved.ObservedAt.Time = now.Add(-max(age, 0)).Truncate(time.Second)
	}
	return &moved
}

// after is c with the states that r makes of it. What was loaded is no base.
func (c Cluster) after(r report.Report) Cluster {
	if !c.FromTerm || r.Full {
		c.said = nil
	}
	c.said = c.said.with(r.States, r.Removed)
	c.digest = c.said.digest()
	return c
}

// changedKeys are all when old was not of this term: even what stayed the same
// may be believed only now.
func changedKeys(old, next Cluster) []desired.Key {
	var keys []desired.Key
	was, is := old.said, next.said
	for len(was) > 0 || len(is) > 0 {
		switch order := firstKey(was, is); {
		case order < 0:
			keys = append(keys, was[0].Key)
			was = was[1:]
		case order > 0:
			keys = append(keys, is[0].Key)
			is = is[1:]
		default:
			if !old.Confirmed || was[0].digest != is[0].digest {
				keys = append(keys, is[0].Key)
			}
			was, is = was[1:], is[1:]
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

// Get is one cluster as it is now; it stays so.
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
	f.mu.RLock()
	defer f.mu.RUnlock()
	c := f.clusters[cluster]
	if c == nil || !c.FromTerm {
		return ""
	}
	return c.digest
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
