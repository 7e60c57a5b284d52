package realnode_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/lease"
)

// upgrades takes the agent, which is v1, to v2, to two images that are no good,
// and back, while what it delivered runs.
func (h *hub) upgrades(t *testing.T) {
	b := h.b
	b.loadAgent("v2")
	b.load("./server", "", agentImage+":crash") // it knows no such command, and ends
	h.knows("v1")
	running, applied, connected, taken := b.workload(), b.applied(), h.connectedSince(), b.taken()

	h.cli("", "upgrade", "agents", "--version", "v2", "--soak", "1s")
	acting := b.agentIs("v2")
	if said := h.member().Status.Facts.Agent.Version; said != "v2" {
		t.Errorf("the agent says that it is %s", said)
	}
	for _, broken := range []struct{ tag, why string }{
		{"crash", "the new agent ended 2 times, last with exit code 64"},
		{"nowhere", "ImagePullBackOff: "},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
		_, err := h.run(ctx, "", "upgrade", "agents", "--version", broken.tag, "--soak", "0s")
		cancel()
		if err == nil || !strings.Contains(err.Error(), "RolledBack: "+broken.why) {
			t.Errorf("%s: %v", broken.tag, err)
		}
		if now := b.agentIs("v2"); now.UID != acting.UID || now.Status.ContainerStatuses[0].RestartCount > 0 {
			t.Errorf("after %s another agent acts: %s", broken.tag, state(now))
		}
	}
	h.cli("", "upgrade", "agents", "--version", "v1", "--soak", "1s")
	b.agentIs("v1")

	if now := b.taken(); now != taken+2 {
		t.Errorf("the Lease was taken %d times by two upgrades", now-taken)
	}
	if now := h.connectedSince(); now != connected {
		t.Errorf("the cluster was away: connected since %s, before %s", now, connected)
	}
	if diff := cmp.Diff(running, b.workload()); diff != "" {
		t.Errorf("the workload was touched (-before +after):\n%s", diff)
	}
	if now := b.applied(); now != applied {
		t.Errorf("%d applies since the upgrade began", now-applied)
	}
}

// knows waits until the hub has heard from the agent of that version; one that
// started just now has not told what it runs.
func (h *hub) knows(version string) {
	h.b.t.Helper()
	h.b.eventually("the hub hears from "+version, func(context.Context) error {
		if c := h.member().Status; c.Connection.State != v1alpha1.Connected || c.Facts == nil || c.Facts.Agent == nil || c.Facts.Agent.Image != agentImage+":"+version {
			return fmt.Errorf("it is %s with %+v", c.Connection.State, c.Facts)
		}
		return nil
	})
}

// workload is what becomes of the shop's pods: their UIDs, and how often each
// started.
func (b *bed) workload() map[string]int32 {
	b.t.Helper()
	pods, err := b.client.CoreV1().Pods("demo").List(b.t.Context(), metav1.ListOptions{})
	if err != nil {
		b.t.Fatal(err)
	}
	found := map[string]int32{}
	for _, pod := range pods.Items {
		found[pod.Name+" "+string(pod.UID)] = pod.Status.ContainerStatuses[0].RestartCount
	}
	return found
}

// taken is how often the right to act went from one agent to another.
func (b *bed) taken() int32 {
	b.t.Helper()
	l, err := b.client.CoordinationV1().Leases(v1alpha1.SystemNamespace).Get(b.t.Context(), lease.Name, metav1.GetOptions{})
	if err != nil {
		b.t.Fatal(err)
	}
	return *l.Spec.LeaseTransitions
}

func (h *hub) connectedSince() string {
	h.b.t.Helper()
	return h.member().Status.Connection.Since.String()
}
