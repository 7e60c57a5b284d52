package agent

import (
	"sync"
	"time"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/report"
)

// reporter turns what is known into reports: the whole first, then only what
// changed since the last one sent.
type reporter struct {
	mu   sync.Mutex
	sent map[desired.Key]report.State
	full bool
	// facts is the inventory last sent.
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
	return report.Digest(r.sent)
}

// next is the report to send now, or false when there is nothing to say.
func (r *reporter) next(states map[desired.Key]report.State, facts *v1alpha1.Facts, now time.Time) (report.Report, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := report.Report{Full: r.full, At: report.Time(now)}
	for k, s := range states {
		if old, ok := r.sent[k]; r.full || !ok || old.Digest() != s.Digest() {
			out.States = append(out.States, s)
		}
	}
	for k := range r.sent {
		if _, ok := states[k]; !ok && !r.full {
			out.Removed = append(out.Removed, k)
		}
	}
	if facts != nil && facts.ObservedAt.After(r.facts) {
		out.Facts, r.facts = facts, facts.ObservedAt.Time
	}
	if !out.Full && len(out.States) == 0 && len(out.Removed) == 0 && out.Facts == nil {
		return out, false
	}
	r.sent, r.full = states, false
	out.Digest = report.Digest(states)
	return out, true
}
