package apply

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/report"
	"atoll.dev/atoll/internal/sandbox/standin"
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

// TestWhatWasAppliedWithoutAnAnswerGoesWithTheNextContent: the member stored it,
// and the agent never heard so.
func TestWhatWasAppliedWithoutAnAnswerGoesWithTheNextContent(t *testing.T) {
	m := standin.New(standin.Options{Name: "deaf", UID: "uid-of-deaf", Version: "v1.36.3", Nodes: 1})
	t.Cleanup(m.Close)
	w := newWorldOn(t, m.Config())
	m.Interfere(func(r *http.Request) standin.Fault {
		return standin.Fault{Lose: r.Method == http.MethodPatch && strings.HasSuffix(r.URL.Path, "/configmaps/b")}
	})
	there := func(name string) bool {
		return slices.ContainsFunc(m.Objects(configs), func(u *unstructured.Unstructured) bool { return u.GetName() == name })
	}
	w.deploy("shop", configMap("a", "k", "1")+configMap("b", "k", "1"))
	w.eventually("the member has b", func() bool { return there("b") })
	w.deploy("shop", configMap("a", "k", "2"))
	w.synced("shop")
	w.eventually("b is gone", func() bool { return !there("b") })
	if !there("a") {
		t.Error("a went with it")
	}
}
