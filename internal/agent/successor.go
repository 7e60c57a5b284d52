package agent

import (
	"context"
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/join"
	"atoll.dev/atoll/internal/wire"
)

const (
	// takeOver is how long a new agent has to be ready to take over.
	takeOver = 90 * time.Second
	// upgradeLook is how often the agent that acts looks after the new one.
	upgradeLook = 2 * time.Second
)

// watch returns when this agent is ended because the new one is ready, or when
// the former image is back.
func (u *upgrader) watch(ctx context.Context, w wire.Upgrade, d *appsv1.Deployment) {
	u.told(w, v1alpha1.UpgradeRunning, "the new agent starts beside this one")
	// From when this agent saw it, not from when another says that it began:
	// clocks of two machines are never compared.
	began := time.Now()
	for sleep(ctx, upgradeLook) {
		why, hopeless := u.trouble(ctx, w.Image)
		if !hopeless && time.Since(began) < takeOver {
			continue
		}
		if _, err := u.deployment.run(ctx, d.Annotations[noteFormer], map[string]any{noteFailed: why}); err != nil {
			u.log.Warn("the former agent's image cannot be put back yet", "err", err)
			continue
		}
		u.told(w, v1alpha1.UpgradeRolledBack, why)
		return
	}
}

// trouble says how the new agent is, and whether waiting longer is of no use.
func (u *upgrader) trouble(ctx context.Context, image string) (why string, hopeless bool) {
	pods, err := u.member.CoreV1().Pods(v1alpha1.SystemNamespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=" + join.AgentAccount})
	if err != nil {
		return "its pod cannot be read: " + err.Error(), false
	}
	i := slices.IndexFunc(pods.Items, func(p corev1.Pod) bool {
		return p.Name != u.pod && p.DeletionTimestamp == nil && imageOf(p.Spec) == image
	})
	if i < 0 {
		return "no pod of the new agent was made", false
	}
	for _, c := range pods.Items[i].Status.ContainerStatuses {
		if c.Name == join.AgentContainer {
			return plight(c)
		}
	}
	return "the new agent's pod was not started", false
}

// plight is what is wrong with the new agent's container.
func plight(c corev1.ContainerStatus) (why string, hopeless bool) {
	const crashes = 2
	ended := c.State.Terminated
	if ended == nil {
		ended = c.LastTerminationState.Terminated
	}
	wait := c.State.Waiting
	switch {
	case wait != nil && (wait.Reason == "InvalidImageName" || wait.Reason == "ImagePullBackOff"):
		return fmt.Sprintf("%s: %s", wait.Reason, wait.Message), true
	case c.RestartCount >= crashes && ended != nil:
		return fmt.Sprintf("the new agent ended %d times, last with exit code %d", c.RestartCount, ended.ExitCode), true
	case wait != nil:
		return fmt.Sprintf("%s: %s", wait.Reason, wait.Message), false
	case ended != nil && c.State.Running == nil:
		return fmt.Sprintf("the new agent ended with exit code %d", ended.ExitCode), false
	case !c.Ready:
		return "the new agent runs, and does not reach the hub", false
	}
	return "the new agent is ready, and this one was not ended", false
}
