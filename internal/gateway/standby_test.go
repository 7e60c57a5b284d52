package gateway_test

import (
	"testing"
	"time"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/wire"
)

func (h *hub) state(cluster string) v1alpha1.ConnectionState { return h.gateway.Connection(cluster) }

func TestAnAgentThatStandsByReplacesNobodyAndIsNotTheClustersWord(t *testing.T) {
	h := newHub(t, 20*time.Millisecond)
	h.set("a", entry("x", 1))
	h.book.MarkComplete()
	acting := h.connect("a", wire.Hello{})
	acting.take()
	standby := h.connect("a", wire.Hello{Standby: true})
	r := whole(well("x"))
	standby.say(wire.Message{Report: &wire.Report{Report: r}})
	standby.say(wire.Message{Heartbeat: &wire.Heartbeat{At: 1}})
	for range 3 {
		if m := standby.next("any word", func(wire.Message) bool { return true }); m.Heartbeat == nil || m.Heartbeat.Desired != "" {
			t.Errorf("it hears %+v", m)
		}
	}
	h.set("a", entry("y", 1))
	acting.take() // its link lives
	if h.fleet.Digest("a") == r.Digest {
		t.Error("its report was entered")
	}
}

// TestAHandOverIsNoOutage goes through one: the new agent stands by, the old
// one ends, the new one acts.
func TestAHandOverIsNoOutage(t *testing.T) {
	h := newHub(t, time.Hour)
	h.book.MarkComplete()
	old := h.connect("a", wire.Hello{Instance: "old"})
	standby := h.connect("a", wire.Hello{Instance: "new", Standby: true})
	old.link.Close(nil)
	h.eventually("the old link is let go of", func() bool {
		_, err := h.gateway.Dial(t.Context(), "a", wire.StreamHeader{Kind: wire.StreamHTTP})
		return err != nil
	})
	if got := h.state("a"); got != v1alpha1.Connected {
		t.Errorf("between the two the cluster is %s", got)
	}
	acting := h.connect("a", wire.Hello{Instance: "new"})
	standby.link.Close(nil)
	standby.ends("it closed its link")
	again := h.connect("a", wire.Hello{Instance: "third", Standby: true})
	again.link.Close(nil)
	if got := h.state("a"); got != v1alpha1.Connected {
		t.Errorf("after the hand-over the cluster is %s", got)
	}
	acting.link.Close(nil)
	h.eventually("the cluster is disconnected", func() bool { return h.state("a") == v1alpha1.Disconnected })
}

func TestAStandbyThatEndsBeforeItsTurnLeavesNoClusterConnected(t *testing.T) {
	h := newHub(t, time.Hour)
	acting := h.connect("a", wire.Hello{})
	standby := h.connect("a", wire.Hello{Standby: true})
	acting.link.Close(nil)
	acting.ends("it closed its link")
	standby.link.Close(nil)
	h.eventually("the cluster is disconnected", func() bool { return h.state("a") == v1alpha1.Disconnected })
}

func TestARemovedClustersStandbyEndsToo(t *testing.T) {
	h := newHub(t, time.Hour)
	acting, standby := h.connect("a", wire.Hello{}), h.connect("a", wire.Hello{Standby: true})
	h.gateway.Expel("a")
	acting.ends("the cluster was removed")
	standby.ends("the cluster was removed")
	other := h.connect("b", wire.Hello{Standby: true})
	h.records.refuse("b", "Revoked")
	h.gateway.Recheck(t.Context(), "b")
	other.ends("the agent was revoked")
}
