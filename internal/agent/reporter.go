package agent

import (
	"slices"
	"sync"
	"time"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/report"
)

// maxReport is how many bytes of states one report takes; a frame takes twice
// as much. What is left over follows in the next one.
const maxReport = 4 << 20

// reporter turns what is known into reports: the whole first, then only what
// changed since the last one.
type reporter struct {
	mu   sync.Mutex
	sent map[desired.Key]desired.Digest
	// said are the states that sent has the digests of: what is equal to them need
	// not be encoded to see that it is.
	said map[desired.Key]report.State
	full bool
	// whole is the digest of all that was sent; empty where it must be made again.
	whole desired.Digest
	// facts is the age of the inventory last sent.
	facts time.Time
}

// reset makes the next report a whole one.
func (r *reporter) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.full, r.facts = true, time.Time{}
}

// digest is the hash of what was said.
func (r *reporter) digest() desired.Digest {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sum()
}

// sum is the digest of what was sent; r.mu is held.
func (r *reporter) sum() desired.Digest {
	if r.whole == "" {
		r.whole = report.DigestOf(r.sent)
	}
	return r.whole
}

// next is the report to send now, or false when there is nothing to say. It is
// called until then.
func (r *reporter) next(states map[desired.Key]report.State, facts *v1alpha1.Facts, now time.Time) (report.Report, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := report.Report{Full: r.full, At: report.Time(now)}
	if r.full || r.sent == nil {
		r.sent, r.said, r.whole = map[desired.Key]desired.Digest{}, map[desired.Key]report.State{}, ""
	}
	r.full = false
	for k := range r.sent {
		if _, ok := states[k]; !ok {
			out.Removed = append(out.Removed, k)
			delete(r.sent, k)
			delete(r.said, k)
			r.whole = ""
		}
	}
	slices.SortFunc(out.Removed, desired.Key.Compare)
	out.States = r.take(states)
	if facts != nil && !facts.ObservedAt.Time.Equal(r.facts) {
		out.Facts, r.facts = facts, facts.ObservedAt.Time
	}
	if !out.Full && len(out.States) == 0 && len(out.Removed) == 0 && out.Facts == nil {
		return out, false
	}
	out.Digest = r.sum()
	return out, true
}

// take notes as sent what changed and fits.
func (r *reporter) take(states map[desired.Key]report.State) []report.State {
	var out []report.State
	size := 0
	var changed []desired.Key
	for k, s := range states {
		if said, ok := r.said[k]; !ok || !s.Equal(said) {
			changed = append(changed, k)
		}
	}
	slices.SortFunc(changed, desired.Key.Compare)
	for _, k := range changed {
		digest, bytes := states[k].Measure()
		if r.sent[k] == digest {
			continue
		}
		if size += bytes; size > maxReport && len(out) > 0 || len(out) == report.MaxStates {
			break
		}
		r.whole = ""
		r.sent[k], r.said[k], out = digest, states[k], append(out, states[k])
	}
	return out
}
