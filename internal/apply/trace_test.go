package apply

import (
	"maps"
	"testing"

	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/report"
)

// TestWhatWasAppliedAndNeverRecordedGoesWithItsApplication is an agent that died
// before it stored anything, and whose application is withdrawn before it is back.
func TestWhatWasAppliedAndNeverRecordedGoesWithItsApplication(t *testing.T) {
	w := newWorld(t)
	w.ownNamespace()
	w.create(configs, existing("theirs", "red"))
	w.deploy("shop", configMap("a", "k", "v")+configMap("b", "k", "v")+configMap("theirs", "color", "blue"), deleting)
	w.problem("shop", "Conflict")
	w.eventually("the others are applied", func() bool { return w.exists(configs, "a") && w.exists(configs, "b") })
	asked := maps.Clone(w.entries)
	w.wake(remembered{})
	for key, e := range asked {
		withdrawing(&e)
		asked[key] = e
	}
	w.hear(asked)
	w.state("shop", "Withdrawn", func(s report.State) bool { return s.Sync == report.Withdrawn })
	if w.exists(configs, "a") || w.exists(configs, "b") {
		t.Error("the hub hears that it is gone, and objects are left")
	}
	if !w.exists(configs, "theirs") {
		t.Error("what somebody else made was deleted")
	}
}

func TestWhatWasNeverRecordedIsHeldBeyondTheBudget(t *testing.T) {
	w := newWorld(t)
	w.deploy("shop", configMap("a", "k", "v")+configMap("b", "k", "v"), deleting, func(e *desired.Entry) { e.Policy.DeletionBudget = 1 })
	w.synced("shop")
	w.wake(remembered{})
	w.alone = false
	w.deploy("shop", configMap("a", "k", "v")+configMap("b", "k", "v"), deleting, withdrawing, func(e *desired.Entry) { e.Policy.DeletionBudget = 1 })
	s := w.state("shop", "Held", func(s report.State) bool { return s.Sync == report.Held })
	if !w.exists(configs, "a") || !w.exists(configs, "b") {
		t.Error("more was deleted than one sync may")
	}
	w.change("shop", func(e *desired.Entry) { e.AllowDeletion = s.HeldDeletion })
	w.state("shop", "Withdrawn", func(s report.State) bool { return s.Sync == report.Withdrawn })
}

// TestWhatNewerContentLeavesOutGoesThoughItWasNeverRecorded: its name is in what
// the agent had stored, which is replaced the moment it starts.
func TestWhatNewerContentLeavesOutGoesThoughItWasNeverRecorded(t *testing.T) {
	w := newWorld(t)
	w.deploy("shop", configMap("a", "k", "1")+configMap("b", "k", "1"))
	w.synced("shop")
	w.wake(remembered{entries: w.entries})
	w.alone = false
	w.deploy("shop", configMap("a", "k", "2"))
	w.synced("shop")
	w.eventually("b is gone", func() bool { return !w.exists(configs, "b") })
}
