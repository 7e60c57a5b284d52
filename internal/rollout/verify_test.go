package rollout_test

import (
	"strings"
	"testing"
	"time"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/report"
	"atoll.dev/atoll/internal/rollout"
)

// verify has clusters pass, and what tries the version there say so.
func (s *scene) verify(verdict report.Verdict, message string, clusters ...string) {
	s.set(rollout.Member{Connected: true, Passed: true, Verification: &report.Verification{
		Verdict: verdict, Object: report.ObjectRef{Group: "batch", Kind: "Job", Namespace: "shop", Name: "smoke"}, Message: message,
	}}, clusters...)
}

func TestAChangeThatFailsItsTestsIsTakenBack(t *testing.T) {
	s := newScene(t, v1alpha1.Rollout{OnFailure: v1alpha1.Rollback, Waves: []v1alpha1.Wave{{Count: number(2)}, {Count: number(4)}, {Share: "100%"}}}, fleet(6))
	s.step()
	s.after(time.Second)
	s.note("both are healthy, and healthy is not tried out")
	s.verify(report.VerificationPassed, "", "c01")
	s.verify(report.VerificationRunning, "1 of 2 pods have succeeded", "c02")
	s.step()
	s.after(time.Minute)
	s.verify(report.VerificationPassed, "", "c02")
	s.step()
	s.after(time.Second)
	s.note("what works on the first two does not in the next wave")
	s.verify(report.VerificationFailed, "the job failed: BackoffLimitExceeded", "c03")
	s.step()
	s.after(rollout.Confirm)
	s.step()
	s.after(time.Second)
	s.note("all four are back; what they ran before is tried again by nobody")
	s.pass("c01", "c02", "c03", "c04")
	s.step()
	s.golden("verify")
}

func TestAChangeThatFailedItsTestsGoesOnByAPersonsWord(t *testing.T) {
	s := newScene(t, v1alpha1.Rollout{Waves: []v1alpha1.Wave{{Count: number(1)}, {Share: "100%"}}}, fleet(3))
	s.step()
	s.verify(report.VerificationFailed, "the job failed", "c01")
	s.step()
	s.after(rollout.Confirm)
	if out := s.step(); out.Status.Phase != v1alpha1.RolloutHalted {
		t.Fatalf("%+v", out.Status)
	}
	s.run.Spec.Control.Resumed = 1
	s.step()
	s.after(rollout.Confirm)
	if out := s.step(); out.Status.Phase != v1alpha1.RolloutHalted || out.Status.Started != 1 {
		t.Fatalf("to resume makes nothing pass: %+v", out.Status)
	}
	s.run.Spec.Control.Promoted, s.run.Spec.Control.Resumed = 2, 2
	if out := s.step(); out.Status.Started != 3 {
		t.Fatalf("a promoted run stands: %+v", out.Status)
	}
	s.pass("c02")
	s.verify(report.VerificationFailed, "the job failed", "c03")
	s.step()
	s.after(rollout.Confirm)
	if out := s.step(); out.Status.Phase != v1alpha1.RolloutHalted || out.Status.Failed[0] != "c03" {
		t.Errorf("what was said of one wave counts for the next: %+v", out.Status)
	}
}

func TestAVerificationThatNeverEndsIsAFailure(t *testing.T) {
	s := newScene(t, v1alpha1.Rollout{Waves: []v1alpha1.Wave{{Count: number(1)}, {Share: "100%"}}}, fleet(2))
	s.step()
	s.verify(report.VerificationRunning, "has not begun", "c01")
	if out := s.step(); out.Wake == 0 || out.Status.Started != 1 {
		t.Fatalf("%+v", out)
	}
	s.after(rollout.DefaultDeadline)
	if out := s.step(); out.Status.Phase != v1alpha1.RolloutHalted {
		t.Errorf("%+v", out.Status)
	}
}

func TestWhatHasNotBegunToBeTriedIsNoReason(t *testing.T) {
	s := newScene(t, v1alpha1.Rollout{Waves: []v1alpha1.Wave{{Count: number(1)}, {Share: "100%"}}}, fleet(2))
	s.step()
	s.set(rollout.Member{Connected: true, Why: "0 of 1 pods are ready: ImagePullBackOff", Verification: &report.Verification{Verdict: report.VerificationRunning, Message: "has not begun"}}, "c01")
	if out := s.step(); !strings.Contains(out.Status.Message, "c01: 0 of 1 pods are ready") {
		t.Errorf("it says %q", out.Status.Message)
	}
}
