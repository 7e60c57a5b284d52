package explain

import (
	"fmt"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/rollout"
)

// rollout judges how the change travels. What was taken back or halted is
// broken, however well the clusters run what they ran before.
func (f Facts) rollout() Link {
	s := f.Run.Status
	l := Link{Stage: Rollout, Why: fmt.Sprintf("%s is %s: %s", f.Run.Name, word(s.Phase), s.Message)}
	switch s.Phase {
	case v1alpha1.RolloutComplete:
		l.Outcome = OK
	case v1alpha1.RolloutHalted:
		l.Outcome = Broken
		l.Do = "change the application, or: " + f.steer("resume") + ", or: " + f.steer("abort")
	case v1alpha1.RolloutRolledBack:
		l.Outcome = Broken
		l.Do = "change the application, or try the same again: " + f.steer("resume")
	case v1alpha1.RolloutWaiting:
		l.Outcome, l.Do = Waiting, f.steer("promote")
	case v1alpha1.RolloutPaused:
		l.Outcome, l.Do = Waiting, f.steer("resume")
		if f.Application.Spec.Rollout != nil && f.Application.Spec.Rollout.Paused {
			l.Do = "take spec.rollout.paused out of the application"
		}
	default:
		l.Outcome = Waiting
	}
	return l
}

func (f Facts) steer(verb string) string {
	return "atoll rollout " + verb + " " + f.ref() + f.project()
}

func word(phase v1alpha1.RolloutPhase) string {
	words := map[v1alpha1.RolloutPhase]string{
		"": "about to begin", v1alpha1.RolloutProgressing: "under way", v1alpha1.RolloutWaiting: "waiting",
		v1alpha1.RolloutPaused: "paused", v1alpha1.RolloutHalted: "halted", v1alpha1.RolloutRollingBack: "being taken back",
		v1alpha1.RolloutComplete: "complete", v1alpha1.RolloutRolledBack: "rolled back", v1alpha1.RolloutSuperseded: "superseded",
	}
	return words[phase]
}

// waiting tells that a cluster's turn is yet to come.
func (f Facts) waiting(cluster string) bool {
	return f.Run != nil && !f.Run.Status.Phase.Final() && rollout.NewCourse(f.Run).Waiting(cluster)
}
