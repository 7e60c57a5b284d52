package rollout

import (
	"fmt"
	"slices"

	"atoll.dev/atoll/internal/report"
)

// A wave whose clusters try out what they were given (phase Verify) is over when
// that has passed on each of them: without it a change is only known to run.
// `promote` goes on without it, as it does without gates.

// unverified is why a cluster's verification holds its wave back; empty when it has
// passed, or nothing tries the version there.
func (m Member) unverified() string {
	switch v := m.Verification; {
	case v == nil, v.Verdict == report.VerificationPassed:
		return ""
	default:
		return "verification " + v.String()
	}
}

// reason is why a cluster fails or holds its wave back. What tries a delivery out
// that is not over yet has not begun, which explains nothing.
func (m Member) reason() string {
	if m.Passed && m.unverified() != "" || !m.Failing && disproves(m.Verification) {
		return m.unverified()
	}
	return m.Why
}

func disproves(v *report.Verification) bool {
	return v != nil && v.Verdict == report.VerificationFailed
}

// disproved are the begun clusters on which a verification has failed, sorted, but
// for those of waves that a person promoted the run beyond.
func (s *step) disproved() []string {
	var names []string
	at := 0
	for i, wave := range s.plan.Waves {
		for _, name := range wave.Clusters[:max(0, min(len(wave.Clusters), int(s.status.Started)-at))] {
			m := s.member(name)
			if disproves(m.Verification) && m.Connected && !m.Gone && !s.promotedBeyond(i) {
				names = append(names, name)
			}
		}
		at += len(wave.Clusters)
	}
	slices.Sort(names)
	return names
}

// promotedBeyond tells that the wave after this one was begun by a person's word.
func (s *step) promotedBeyond(wave int) bool { return int(s.control.Promoted) > wave+1 }

// unproven are the clusters of this wave whose verification is not over, with the
// reason of one.
func (s *step) unproven() (names []string, why string) {
	from, to := s.bounds()
	for _, name := range s.all[from:to] {
		reason := s.member(name).unverified()
		if reason == "" || s.excused(name) {
			continue
		}
		if names = append(names, name); why == "" {
			why = fmt.Sprintf("%s: %s", name, reason)
		}
	}
	return names, why
}
