package agent

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/clock"
	"atoll.dev/atoll/internal/join"
	"atoll.dev/atoll/internal/wire"
)

// upgrader changes the image of the Deployment that runs this agent, and puts
// the former one back when the new agent does not take over. It needs no hub for
// that: while it works, this agent acts.
type upgrader struct {
	member     kubernetes.Interface
	deployment ownDeployment
	pod        string // "" outside of a pod
	version    string
	forbids    func() bool
	log        *slog.Logger
	wishes     chan wire.Upgrade
	changed    chan struct{}

	mu    sync.Mutex
	facts v1alpha1.AgentFacts
	at    time.Time // of the last change of facts
}

func (a *agent) newUpgrader() *upgrader {
	return &upgrader{
		member: a.member, deployment: ownDeployment{a.member}, pod: os.Getenv(join.PodNameVariable), version: a.Version, log: a.Log,
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
	if now := clock.Now().Round(0); u.at.Round(0).After(now) {
		u.at = now // the clock was set back
	}
	if u.at.After(f.ObservedAt.Time) {
		f.ObservedAt = metav1.NewTime(u.at)
	}
}

func (u *upgrader) tell(change func(*v1alpha1.AgentFacts)) {
	u.mu.Lock()
	change(&u.facts)
	u.at = clock.Now() // as what addTo compares it with
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
	d, err := u.deployment.get(ctx)
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
	d, err := u.deployment.get(ctx)
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
	d, err = u.deployment.run(ctx, w.Image, map[string]any{
		noteFormer: own, noteAttempt: w.Attempt, noteFailed: nil,
	})
	if err != nil {
		return err
	}
	u.watch(ctx, w, d)
	return nil
}
