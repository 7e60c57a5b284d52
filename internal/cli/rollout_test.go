package cli

import (
	"strings"
	"testing"

	"atoll.dev/atoll/api/v1alpha1"
)

func TestWhoSteersARolloutIsToldWhatElseHoldsIt(t *testing.T) {
	bySpec := &v1alpha1.Application{}
	bySpec.Name, bySpec.Spec.Rollout = "shop", &v1alpha1.Rollout{Paused: true}
	free := &v1alpha1.Application{}
	free.Name = "shop"
	paused, halted, well := &v1alpha1.RolloutRun{}, &v1alpha1.RolloutRun{}, &v1alpha1.RolloutRun{}
	paused.Spec.Control.Paused = true
	halted.Status.Phase = v1alpha1.RolloutHalted
	for _, tc := range []struct {
		verb string
		app  *v1alpha1.Application
		run  *v1alpha1.RolloutRun
		want string
	}{
		{"resume", bySpec, paused, "spec.rollout.paused"},
		{"promote", bySpec, well, "spec.rollout.paused"},
		{"promote", free, paused, "atoll rollout resume app/shop"},
		{"promote", free, halted, "atoll rollout resume app/shop"},
		{"promote", free, well, ""},
		{"resume", free, paused, ""},
		{"abort", bySpec, paused, ""},
	} {
		got := steer{use: tc.verb}.inTheWay(tc.app, tc.run)
		if (got == "") != (tc.want == "") || !strings.Contains(got, tc.want) {
			t.Errorf("%s says %q, not %q", tc.verb, got, tc.want)
		}
	}
}

func TestAPromoteTakesBackNoEarlierWord(t *testing.T) {
	for _, v := range steering {
		if v.use != "promote" {
			continue
		}
		run := &v1alpha1.RolloutRun{}
		run.Spec.Control.Promoted = 3
		if control, why := v.says(run); control["promoted"] != int32(3) {
			t.Errorf("it writes %v %s", control, why)
		}
		if now := v.outcome(run); now != "promoted" {
			t.Errorf("one under way is said to be %q", now)
		}
		run.Status.Phase = v1alpha1.RolloutHalted
		if now := v.outcome(run); now != "will be promoted when it is resumed" {
			t.Errorf("one that is halted is said to be %q", now)
		}
	}
}
