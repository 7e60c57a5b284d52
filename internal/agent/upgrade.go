package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/join"
	"atoll.dev/atoll/internal/wire"
)

// Notes on the agent's Deployment, so that whichever agent acts can finish what
// another began.
const (
	noteFormer  = "atoll.dev/agent-former"  // the image before the upgrade
	noteAttempt = "atoll.dev/agent-attempt" // which wish it serves
	noteSince   = "atoll.dev/agent-since"   // when it began
	noteFailed  = "atoll.dev/agent-failed"  // why that wish was rolled back
)

const (
	// takeOver is how long a new agent has to be ready to take over.
	takeOver = 90 * time.Second
	// upgradeLook is how often the agent that acts looks after the new one.
	upgradeLook = 2 * time.Second
)

// upgrader changes the image of the Deployment that runs this agent, and puts
// the former one back when the new agent does not take over. It needs no hub for
// that: while it works, this agent acts.
type upgrader struct {
	member  kubernetes.Interface
	pod     string // "" outside of a pod
	version string
	forbids func() bool
	log     *slog.Logger
	wishes  chan wire.Upgrade
	changed chan struct{}

	mu    sync.Mutex
	facts v1alpha1.AgentFacts
	at    time.Time // of the last change of facts
}

func (a *agent) newUpgrader() *upgrader {
	return &upgrader{
		member: a.member, pod: os.Getenv(join.PodNameVariable), version: a.Version, log: a.Log,
		forbids: func() bool { return a.engine.Limits().Upgrades },
		wishes:  make(chan wire.Upgrade, 1), changed: make(chan struct{}, 1),
		facts: v1alpha1.AgentFacts{Version: a.Version},
	}
}

// wish takes the hub's last word; an earlier one that was not looked at is void.
func (u *upgrader) wish(w wire.Upgrade) {
	select {
	case <-u.wishes:
	default:
	}
	select {
	case u.wishes <- w:
	default: // a later one has come
	}
}

// addTo puts what the agent says of itself into an inventory, which may be
// older than that.
func (u *upgrader) addTo(f *v1alpha1.Facts) {
	u.mu.Lock()
	defer u.mu.Unlock()
	f.Agent = u.facts.DeepCopy()
	if u.at.After(f.ObservedAt.Time) {
		f.ObservedAt = metav1.NewTime(u.at)
	}
}

func (u *upgrader) tell(change func(*v1alpha1.AgentFacts)) {
	u.mu.Lock()
	change(&u.facts)
	u.at = time.Now()
	u.mu.Unlock()
	notify(u.changed)
}

func (u *upgrader) told(w wire.Upgrade, state v1alpha1.UpgradeState, message string) {
	u.log.Info("upgrade of this agent", "image", w.Image, "state", state, "why", message)
	u.tell(func(f *v1alpha1.AgentFacts) {
		f.Upgrade = &v1alpha1.AgentUpgrade{Image: w.Image, Attempt: w.Attempt, State: state, Message: message}
	})
}

// run first finishes what an agent before began, then does what is wished.
func (u *upgrader) run(ctx context.Context) error {
	image := ""
	for u.pod != "" {
		pod, err := u.member.CoreV1().Pods(v1alpha1.SystemNamespace).Get(ctx, u.pod, metav1.GetOptions{})
		if err == nil {
			image = imageOf(pod.Spec)
			break
		}
		if !sleep(ctx, upgradeLook) {
			return nil
		}
	}
	u.tell(func(f *v1alpha1.AgentFacts) { f.Image = image })
	if image != "" {
		u.resume(ctx, image)
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case w := <-u.wishes:
			if err := u.fulfil(ctx, w, image); err != nil && ctx.Err() == nil {
				u.told(w, v1alpha1.UpgradeRefused, err.Error())
			}
		}
	}
}

// resume looks after a new agent that was asked for before this one started.
func (u *upgrader) resume(ctx context.Context, own string) {
	d, err := u.deployment(ctx)
	if err != nil {
		u.log.Warn("the agent's Deployment cannot be read", "err", err)
		return
	}
	notes := d.Annotations
	if notes[noteFormer] != "" && notes[noteFailed] == "" && imageOf(d.Spec.Template.Spec) != own {
		u.watch(ctx, wire.Upgrade{Image: imageOf(d.Spec.Template.Spec), Attempt: notes[noteAttempt]}, d)
	}
}

// fulfil makes the Deployment run the image, unless it does, may not or has
// failed to before.
func (u *upgrader) fulfil(ctx context.Context, w wire.Upgrade, own string) error {
	switch {
	case u.pod == "" || own == "":
		return fmt.Errorf("this agent is not run by its Deployment: upgrade it where it is started")
	case own == w.Image:
		u.told(w, v1alpha1.UpgradeDone, "")
		return nil
	case u.forbids():
		return fmt.Errorf("the member forbids upgrades of the agent (ConfigMap %s in %s); ask the cluster's owner", join.LimitsConfigMap, v1alpha1.SystemNamespace)
	}
	d, err := u.deployment(ctx)
	if err != nil {
		return err
	}
	if d.Spec.Strategy.Type != appsv1.RollingUpdateDeploymentStrategyType {
		return fmt.Errorf("the agent's Deployment ends the old agent before the new one starts; apply what `atoll join -o yaml` prints first")
	}
	if why := d.Annotations[noteFailed]; why != "" && d.Annotations[noteAttempt] == w.Attempt {
		u.told(w, v1alpha1.UpgradeRolledBack, why)
		return nil
	}
	d, err = u.patch(ctx, w.Image, map[string]any{
		noteFormer: own, noteAttempt: w.Attempt, noteSince: time.Now().UTC().Format(time.RFC3339), noteFailed: nil,
	})
	if err != nil {
		return err
	}
	u.watch(ctx, w, d)
	return nil
}

// watch returns when this agent is ended because the new one is ready, or when
// the former image is back.
func (u *upgrader) watch(ctx context.Context, w wire.Upgrade, d *appsv1.Deployment) {
	u.told(w, v1alpha1.UpgradeRunning, "the new agent starts beside this one")
	since, err := time.Parse(time.RFC3339, d.Annotations[noteSince])
	if err != nil {
		since = time.Now()
	}
	for sleep(ctx, upgradeLook) {
		why, hopeless := u.trouble(ctx, w.Image)
		if !hopeless && time.Since(since) < takeOver {
			continue
		}
		if _, err := u.patch(ctx, d.Annotations[noteFormer], map[string]any{noteFailed: why}); err != nil {
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

func (u *upgrader) deployment(ctx context.Context) (*appsv1.Deployment, error) {
	d, err := u.member.AppsV1().Deployments(v1alpha1.SystemNamespace).Get(ctx, join.AgentAccount, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("read the agent's Deployment: %w", err)
	}
	return d, nil
}

// patch sets the image and notes; a note of nil goes.
func (u *upgrader) patch(ctx context.Context, image string, notes map[string]any) (*appsv1.Deployment, error) {
	data, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"annotations": notes},
		"spec": map[string]any{"template": map[string]any{"spec": map[string]any{
			"containers": []any{map[string]any{"name": join.AgentContainer, "image": image}},
		}}},
	})
	if err != nil {
		return nil, fmt.Errorf("encode the change of the agent's Deployment: %w", err)
	}
	d, err := u.member.AppsV1().Deployments(v1alpha1.SystemNamespace).Patch(ctx, join.AgentAccount, types.StrategicMergePatchType, data, metav1.PatchOptions{FieldManager: "atoll-agent"})
	if err != nil {
		return nil, fmt.Errorf("change the agent's Deployment: %w", err)
	}
	return d, nil
}

func imageOf(spec corev1.PodSpec) string {
	for _, c := range spec.Containers {
		if c.Name == join.AgentContainer {
			return c.Image
		}
	}
	return ""
}
