package rollout

import (
	"strings"

	"atoll.dev/atoll/api/v1alpha1"
)

// words are the phases as people say them.
var words = map[v1alpha1.RolloutPhase]string{
	"": "about to begin", v1alpha1.RolloutProgressing: "under way", v1alpha1.RolloutWaiting: "waiting",
	v1alpha1.RolloutPaused: "paused", v1alpha1.RolloutHalted: "halted", v1alpha1.RolloutRollingBack: "rolling back",
	v1alpha1.RolloutComplete: "complete", v1alpha1.RolloutRolledBack: "rolled back", v1alpha1.RolloutSuperseded: "superseded",
}

// Describe is where a run stands: "shop-2 is halted: eu-1: a pod crashes".
func Describe(run *v1alpha1.RolloutRun) string {
	word := words[run.Status.Phase]
	text := run.Name + " is " + word
	// Messages of a run that goes back begin with the same words.
	if why := strings.TrimPrefix(run.Status.Message, word+": "); why != "" {
		text += ": " + why
	}
	return text
}
