package apply

import (
	"cmp"

	"atoll.dev/atoll/internal/phase"
	"atoll.dev/atoll/internal/report"
)

// What is of phase Verify are hooks that try out a delivery which is over: all of it
// is applied and healthy, and what is no longer asked for is on its way out. They
// make nothing of the delivery wait or fail; what they find is told beside it.

// verifies tells such a hook.
func (o *object) verifies() bool {
	return o.hook != nil && o.hook.Phase == phase.Verify && o.hook.LeftOut == ""
}

const verificationFailed = "VerificationFailed"

// failure is the reason of a problem with a hook that failed.
func (o *object) failure() string {
	if o.verifies() {
		return verificationFailed
	}
	return "HookFailed"
}

// delivering is the last step that belongs to the delivery.
func (en *entry) delivering() int {
	last := len(en.steps) - 1
	for last > 0 && en.steps[last].Phase == phase.Verify {
		last--
	}
	return last
}

// verified tells that no verification is to come any more: all have ended, or one
// has failed.
func (en *entry) verified() bool {
	over := true
	for _, o := range en.hooks {
		if !o.wanted() || !o.verifies() {
			continue
		}
		stage := o.ran()
		if stage == runFailed {
			return true
		}
		over = over && stage.ended()
	}
	return over
}

// verification is what is found of the content that the entry asks for; nil when
// nothing tries it. e.mu is held.
func (e *Engine) verification(en *entry) *report.Verification {
	if en.taken != en.digest {
		return nil
	}
	var told *report.Verification
	var by *object
	for _, o := range en.hooks {
		if !o.wanted() || !o.verifies() {
			continue
		}
		found := e.finding(o)
		if told == nil || cmp.Or(cmp.Compare(gravity[found.Verdict], gravity[told.Verdict]), cmp.Compare(o.stage, by.stage), o.id.Compare(by.id)) < 0 {
			told, by = &found, o
		}
	}
	return told
}

// gravity orders verdicts, the one that decides first.
var gravity = map[report.Verdict]int{report.VerificationFailed: 1, report.VerificationRunning: 2, report.VerificationPassed: 3}

// finding is what one object says. One that cannot begin has not failed: what is in
// its way may go.
func (e *Engine) finding(o *object) report.Verification {
	v := report.Verification{Verdict: report.VerificationRunning, Object: o.ref}
	switch stage := o.ran(); {
	case stage == runSucceeded:
		v.Verdict = report.VerificationPassed
	case stage == runFailed:
		v.Verdict, v.Message = report.VerificationFailed, o.entry.runs[o.id].Why
	case o.blocked != "":
		v.Message = clip("Forbidden: " + o.blocked)
	case o.fails(e.clock()):
		v.Message = clip(o.problem.Reason + ": " + o.problem.Message)
	case stage == runMade:
		v.Message = clip(o.condition().message)
	default:
		v.Message = "has not begun"
	}
	return v
}
