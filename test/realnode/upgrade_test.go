package realnode_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/join"
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
	h.crashes(t)
	b.actsStill(t, acting)
	if now := h.connectedSince(); now != connected {
		t.Errorf("the cluster was away: connected since %s, before %s", now, connected)
	}
	h.cannotBePulled(t)
	b.actsStill(t, acting)
	h.cli("", "upgrade", "agents", "--version", "v1", "--soak", "1s")
	b.agentIs("v1")

	if now := b.taken(); now != taken+2 {
		t.Errorf("the Lease was taken %d times by two upgrades", now-taken)
	}
	if diff := cmp.Diff(running, b.workload()); diff != "" {
		t.Errorf("the workload was touched (-before +after):\n%s", diff)
	}
	if now := b.applied(); now != applied {
		t.Errorf("%d applies since the upgrade began", now-applied)
	}
}

// crashes asks for an agent that ends at once.
func (h *hub) crashes(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	_, err := h.run(ctx, "", "upgrade", "agents", "--version", "crash", "--soak", "0s")
	if err == nil || !strings.Contains(err.Error(), "RolledBack: the new agent ended 2 times, last with exit code 64") {
		t.Errorf("an agent that crashes: %v", err)
	}
}

// cannotBePulled asks for an image that is nowhere, and lets the hub die once
// the agent has begun: it needs none to go back.
func (h *hub) cannotBePulled(t *testing.T) {
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		_, _ = h.run(t.Context(), "", "upgrade", "agents", "--version", "nowhere") // it ends with the hub
	}()
	h.b.deploymentIs("nowhere")
	h.kill()
	<-asked
	h.b.deploymentIs("v2")
	h.start()
	h.b.eventually("the hub hears why", func(context.Context) error {
		up := h.member().Status.Facts.Agent.Upgrade
		if up == nil || up.State != v1alpha1.UpgradeRolledBack || !strings.HasPrefix(up.Message, "ImagePullBackOff: ") {
			return fmt.Errorf("the upgrade is %+v", up)
		}
		return nil
	})
	h.knows("v2")
}

// deploymentIs waits until the agent's Deployment names the image of that version.
func (b *bed) deploymentIs(version string) {
	b.t.Helper()
	b.eventually("the Deployment names "+version, func(ctx context.Context) error {
		d, err := b.client.AppsV1().Deployments(v1alpha1.SystemNamespace).Get(ctx, join.AgentAccount, metav1.GetOptions{})
		if err == nil && d.Spec.Template.Spec.Containers[0].Image != agentImage+":"+version {
			return differs("the image", d.Spec.Template.Spec.Containers[0].Image, version)
		}
		return err
	})
}

// actsStill expects that the agent's pod is the one that it was.
func (b *bed) actsStill(t *testing.T, acting *corev1.Pod) {
	if now := b.agentIs("v2"); now.UID != acting.UID || now.Status.ContainerStatuses[0].RestartCount > 0 {
		t.Errorf("another agent acts: %s", state(now))
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
