package apply

import (
	"strings"
	"testing"

	"atoll.dev/atoll/internal/phase"
	"atoll.dev/atoll/internal/report"
)

// verdict waits for what the objects that try a delivery out say of it.
func (w *world) verdict(app string, want report.Verdict) report.State {
	w.t.Helper()
	return w.state(app, "one whose verification is "+string(want), func(s report.State) bool {
		return s.Verification != nil && s.Verification.Verdict == want
	})
}

// TestAVerificationTriesADeliveryThatIsOver has a delivery verified, once, by an
// object that is there before the one that decides; then another that fails, which
// keeps nothing of the delivery back.
func TestAVerificationTriesADeliveryThatIsOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	manifests := func(color, image string, suspended bool) string {
		return annotated(configMap("inputs", "k", "v"), "atoll.dev/phase: Verify, atoll.dev/wave: '-1', argocd.argoproj.io/hook-delete-policy: HookSucceeded") +
			jobOf("smoke", image, "atoll.dev/phase: Verify", suspended) +
			jobOf("report", "task:1", "atoll.dev/phase: Verify, atoll.dev/wave: '1'", false) +
			jobOf("alarm", "task:1", "atoll.dev/phase: SyncFail", false) +
			jobOf("note", "task:1", "atoll.dev/phase: PostSync", false) +
			configMap("settings", "color", color) + configMap("only-"+color, "k", "v")
	}
	w.deploy("shop", manifests("blue", "task:1", true))
	uid := w.launched("smoke", "")
	s := w.state("shop", "well, and being verified", func(s report.State) bool { return s.Well() && s.Verification != nil })
	if v := s.Verification; v.Verdict != report.VerificationRunning || v.Object.Name != "smoke" || !strings.HasPrefix(s.Message, "verification: Running: Job.batch/smoke") || s.Objects != 3 || s.Applied != 3 {
		t.Errorf("%s, verification %v", describeState(s), v)
	}
	if w.exists(jobs, "report") || !w.exists(configs, "inputs") || !w.exists(jobs, "note") {
		t.Error("a verification began before its turn, or what it needs went before it ended")
	}
	w.halt()
	w.start()
	if s := w.verdict("shop", report.VerificationRunning); w.uid("smoke") != uid {
		t.Errorf("the verification began anew: %s", describeState(s))
	}
	w.edit(jobs, "smoke", `{"spec":{"suspend":false}}`)
	if s := w.verdict("shop", report.VerificationPassed); !s.Well() || s.Message != "" || w.uid("smoke") != uid {
		t.Error(describeState(s))
	}
	w.eventually("what its policy deletes is gone", func() bool { return !w.exists(configs, "inputs") })

	// Another content is verified anew. That it fails ends no delivery: what is no
	// longer asked for goes, and nothing counts as failed in sync.
	w.deploy("shop", manifests("red", "task:fail", false))
	s = w.state("shop", "well, and one whose verification is Failed", func(s report.State) bool {
		return s.Well() && s.Verification != nil && s.Verification.Verdict == report.VerificationFailed
	})
	if !strings.Contains(s.Message, "smoke in "+w.project+": the job failed: BackoffLimitExceeded") || w.problem("shop", "VerificationFailed").Object.Name != "smoke" {
		t.Errorf("%s, verification %v", describeState(s), s.Verification)
	}
	w.eventually("what is no longer asked for is deleted", func() bool { return !w.exists(configs, "only-blue") })
	if w.exists(jobs, "alarm") {
		t.Error("a verification that failed counts as a delivery that failed")
	}
	failed := w.uid("smoke")
	w.halt()
	w.start()
	if s := w.verdict("shop", report.VerificationFailed); w.uid("smoke") != failed {
		t.Errorf("a restart verified again: %s", describeState(s))
	}

	// Back to the content that was verified: it is known to work.
	w.deploy("shop", manifests("blue", "task:1", true))
	if s := w.verdict("shop", report.VerificationPassed); w.exists(jobs, "smoke") && w.uid("smoke") != failed {
		t.Errorf("what had passed was verified again: %s", describeState(s))
	}
}

// What waits for a test waits for nothing: where there is nothing else, the delivery
// is over before it begins.
func TestADeliveryOfNothingButTestsIsOver(t *testing.T) {
	w := newOrder(t)
	en := w.deliver("web", "one", 1, rendering{objects: []rendered{thing(jobID, "smoke", hookMark(phase.Verify, phase.Always))}})
	w.attemptAll(en)
	s := w.summarize(en, w.clock())
	if !en.finished || en.stepOf("smoke") != launch || s.Sync != report.InSync || s.Verification == nil || s.Verification.Verdict != report.VerificationRunning {
		t.Errorf("finished %v, the test is due for %v: %s, %v", en.finished, en.stepOf("smoke"), describeState(s), s.Verification)
	}
	w.succeedWith(en, "smoke")
	if s := w.summarize(en, w.clock()); s.Verification.Verdict != report.VerificationPassed {
		t.Errorf("it says %v", s.Verification)
	}
	en = w.deliver("web", "two", 2, rendering{objects: []rendered{thing(jobID, "smoke", hookMark(phase.Verify, phase.Always))}})
	if s := w.summarize(en, w.clock()); s.Verification.Verdict != report.VerificationRunning {
		t.Errorf("of another content it says %v", s.Verification)
	}
}
