package explain

import (
	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/rollout"
)

// rollout judges how the change travels. What was taken back or halted is
// broken, however well the clusters run what they ran before.
func (f Facts) rollout() Link {
	l := Link{Stage: Rollout, Why: rollout.Describe(f.Run)}
	switch f.Run.Status.Phase {
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

// waiting tells that a cluster's turn is yet to come.
func (f Facts) waiting(cluster string) bool {
	return f.Run != nil && !f.Run.Status.Phase.Final() && rollout.NewCourse(f.Run).Waiting(cluster)
}
