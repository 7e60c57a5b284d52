package explain

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/rollout"
)

// freeze tells of what stands in the way of every change, and whether one waits.
func (f Facts) freeze() Link {
	l := Link{Stage: Freeze, Outcome: OK, Why: f.Frozen.Why() + "; nothing new is told to clusters", Do: f.Frozen.Thaw}
	travels := meta.FindStatusCondition(f.Application.Status.Conditions, v1alpha1.ConditionRolledOut)
	if travels != nil && travels.Reason == v1alpha1.ConditionFrozen {
		l.Outcome, l.Why = Waiting, f.Frozen.Why()+"; a change waits for the thaw"
	}
	return l
}

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
		if windows, err := rollout.CompileWindows(f.Application.Spec.Rollout); err == nil && !windows.Open(f.Now) {
			l.Why, l.Do = l.Why+windows.In(f.Now), "wait, or begin the wave now: "+l.Do
		}
	case v1alpha1.RolloutPaused:
		l.Outcome, l.Do = Waiting, f.steer("resume")
		if f.Frozen != nil {
			l.Do = f.Frozen.Thaw
		} else if f.Application.Spec.Rollout != nil && f.Application.Spec.Rollout.Paused {
			l.Do = "take spec.rollout.paused out of the application"
		}
	default:
		l.Outcome = Waiting
	}
	return l
}

// atOnce tells how changes travel where nothing asks for waves, before one does.
func (f Facts) atOnce() Link {
	return Link{Stage: Rollout, Outcome: OK, Why: fmt.Sprintf("a change reaches all %d clusters at once; spec.rollout: {} would have it go to one, then to 25%%, then to the rest", len(f.Clusters))}
}

func (f Facts) steer(verb string) string {
	return "atoll rollout " + verb + " " + f.ref() + f.project()
}

// waiting tells that a cluster's turn is yet to come.
func (f Facts) waiting(cluster string) bool {
	return f.Run != nil && !f.Run.Status.Phase.Final() && rollout.NewCourse(f.Run).Waiting(cluster)
}
