package report

import (
	"fmt"
	"strings"

	"atoll.dev/atoll/internal/desired"
)

// Limits of one report and of what it adds up to, so that one bad application
// cannot flood the link, and one bad agent not the hub.
const (
	MaxProblems = 20
	MaxChanges  = 20
	// MaxMessage is in bytes, as are the other texts' limits.
	MaxMessage = 512
	maxText    = 1024
	// MaxStates is how many applications one cluster may report.
	MaxStates = 5000
)

// Bounded is s within the limits, in valid UTF-8: a text that is not would
// make the whole report unreadable.
func (s State) Bounded() State {
	s.Message = clip(s.Message, MaxMessage)
	problems := make([]Problem, 0, min(len(s.Problems), MaxProblems))
	for _, p := range s.Problems[:min(len(s.Problems), MaxProblems)] {
		p.Reason, p.Message = clip(p.Reason, MaxMessage), clip(p.Message, MaxMessage)
		problems = append(problems, p)
	}
	changes := make([]Change, 0, min(len(s.Drift), MaxChanges))
	for _, c := range s.Drift[max(0, len(s.Drift)-MaxChanges):] { // newest last
		c.Path, c.Manager = clip(c.Path, maxText), clip(c.Manager, MaxMessage)
		c.Old, c.New = clip(c.Old, maxText), clip(c.New, maxText)
		changes = append(changes, c)
	}
	s.Problems, s.Drift = orNil(problems), orNil(changes)
	if s.Verification != nil {
		v := *s.Verification // theirs stays as it is
		v.Message = clip(v.Message, MaxMessage)
		s.Verification = &v
	}
	return s
}

// orNil makes none and empty one value, for the two encode differently.
func orNil[T any](list []T) []T {
	if len(list) == 0 {
		return nil
	}
	return list
}

func clip(s string, most int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= most {
		return s
	}
	cut := most - len("…")
	for cut > 0 && s[cut]&0xC0 == 0x80 {
		cut--
	}
	return s[:cut] + "…"
}

// Check refuses a report that no honest agent sends.
func (r Report) Check() error {
	if len(r.States) > MaxStates {
		return fmt.Errorf("a report of %d applications: at most %d", len(r.States), MaxStates)
	}
	for i := range r.States {
		if err := r.States[i].check(); err != nil {
			return fmt.Errorf("report of %s: %w", clip(r.States[i].Key.String(), 128), err)
		}
	}
	return nil
}

func (s State) check() error {
	switch {
	case len(s.Key.Project) > 253 || len(s.Key.Application) > 253 || s.Key == desired.Key{}:
		return fmt.Errorf("its name has a length that no name has")
	case syncRank[s.Sync] == 0:
		return fmt.Errorf("sync %q is none", clip(string(s.Sync), 32))
	case healthRank[s.Health] == 0:
		return fmt.Errorf("health %q is none", clip(string(s.Health), 32))
	case s.Verification != nil && !verdicts[s.Verification.Verdict]:
		return fmt.Errorf("verification %q is none", clip(string(s.Verification.Verdict), 32))
	case len(s.Problems) > MaxProblems || len(s.Drift) > MaxChanges:
		return fmt.Errorf("%d problems and %d changes are too many", len(s.Problems), len(s.Drift))
	case len(mustEncode(s)) > maxState:
		return fmt.Errorf("it is larger than %d bytes", maxState)
	}
	return nil
}

var verdicts = map[Verdict]bool{VerificationRunning: true, VerificationPassed: true, VerificationFailed: true}

// maxState is beyond what all its parts at their limits make.
const maxState = 256 << 10
