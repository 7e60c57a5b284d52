// Package agent runs in a member: it dials the hub, takes what the cluster
// should run, keeps it so through internal/apply whether the hub is there or
// not, and says what became of it. It decides only whom to obey (accept.go);
// everything it needs to go on alone lies in the member.
package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/apply"
	"atoll.dev/atoll/internal/clock"
	"atoll.dev/atoll/internal/join"
	"atoll.dev/atoll/internal/lease"
	"atoll.dev/atoll/internal/localstore"
	"atoll.dev/atoll/internal/seal"
	"atoll.dev/atoll/internal/trust"
)

// Options are everything an agent needs.
type Options struct {
	// Config reaches the member with the agent's own account.
	Config    *rest.Config
	Bootstrap join.Ticket
	// Proxy is the HTTP proxy by which the hub is dialled; nil means that of
	// the environment.
	Proxy   *url.URL
	Version string
	Log     *slog.Logger
	// Health is told how the agent is; nil when nobody asks.
	Health *Health
}

// Agent is one running agent.
type agent struct {
	Options
	member   kubernetes.Interface
	uid      string
	instance string
	trust    *trust.Client
	store    *localstore.Store
	engine   *apply.Engine
	tunnel   *tunnel
	reporter reporter
	memory   *memory
	upgrader *upgrader
	holder   *lease.Holder
	// endStandby ends the link that this agent had while it waited, if any.
	endStandby func()
}

// Run works until ctx ends. It returns an error only when it cannot work at
// all; a hub or a member that is away is waited for. Of several agents of a
// member one acts; the others wait for their turn (internal/lease).
func Run(ctx context.Context, o Options) error {
	for wait := time.Second; ; wait = min(2*wait, 30*time.Second) {
		a := &agent{Options: o, instance: instance(), endStandby: func() {}}
		err := a.inTurn(ctx)
		switch {
		case ctx.Err() != nil:
			return err
		case errors.Is(err, lease.ErrLost):
			o.Log.Warn("this agent acts no more; it waits for its next turn", "why", err)
			wait = time.Second
		case passes(err):
			o.Log.Warn("the member does not let this agent begin; it tries again", "err", err, "in", wait)
			if !sleep(ctx, wait) {
				return nil
			}
		default:
			return err
		}
	}
}

// inTurn waits until this agent may act, and acts until it may no more. What
// is in memory goes with it: another may act before the next turn.
func (a *agent) inTurn(ctx context.Context) error {
	defer func() { a.endStandby() }()
	if err := a.takeTurn(ctx); err != nil {
		if ctx.Err() != nil {
			return nil // ended while it waited, as it was asked to
		}
		return err
	}
	defer func() {
		// Not ctx, which has ended: the next one should not have to wait.
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := a.holder.Release(ctx); err != nil {
			a.Log.Warn("the next agent has to wait until the lease runs out", "err", err)
		}
	}()
	return a.act(ctx)
}

// takeTurn acquires the Lease, and from then on lets nothing be written
// without it.
func (a *agent) takeTurn(ctx context.Context) error {
	member, err := kubernetes.NewForConfig(a.Config)
	if err != nil {
		return fmt.Errorf("connect to the member: %w", err)
	}
	a.member = member
	if err := a.identify(ctx); err != nil {
		return err
	}
	if err := ensureNamespace(ctx, member); err != nil {
		return err
	}
	a.holder = lease.New(member.CoordinationV1().Leases(v1alpha1.SystemNamespace), a.instance)
	standing := false
	waiting := func(why string) {
		a.Log.Info("waiting for this agent's turn", "why", why)
		if !standing {
			standing = true
			a.endStandby = a.standBy(ctx)
		}
	}
	if err := a.holder.Acquire(ctx, waiting); err != nil {
		return err
	}
	a.Config = rest.CopyConfig(a.Config)
	a.Config.Wrap(a.holder.Gate)
	return nil
}

// act does an agent's work until ctx ends or the Lease is lost.
func (a *agent) act(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	var keeping sync.WaitGroup
	defer keeping.Wait()
	defer cancel(nil) // runs first: the wait is for what it ends
	keeping.Go(func() {
		if err := a.holder.Keep(ctx); err != nil {
			cancel(err)
		}
	})
	if err := a.prepare(ctx); err != nil {
		if cause := context.Cause(ctx); errors.Is(cause, lease.ErrLost) {
			return cause
		}
		return err
	}
	a.Health.acts(true)
	defer a.Health.acts(false)
	done := make(chan struct{}, 4)
	start := func(what string, f func(context.Context) error) {
		go func() {
			if err := f(ctx); err != nil && ctx.Err() == nil {
				cancel(fmt.Errorf("%s: %w", what, err))
			}
			done <- struct{}{}
		}()
	}
	start("apply", a.engine.Run)
	start("remember", a.memory.run)
	start("upgrade", a.upgrader.run)
	start("link", a.stayLinked)
	<-ctx.Done()
	for range 4 {
		<-done
	}
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

func instance() string {
	host, err := os.Hostname()
	if err != nil {
		host = "agent"
	}
	return fmt.Sprintf("%s-%d-%d", host, os.Getpid(), time.Now().UnixNano())
}

// prepare opens everything that does not need the hub.
func (a *agent) prepare(ctx context.Context) error {
	var err error
	own := rest.CopyConfig(a.Config)
	own.QPS, own.Burst = 50, 100 // the client's default of 5 a second would hold the local store up
	if a.member, err = kubernetes.NewForConfig(own); err != nil {
		return fmt.Errorf("connect to the member: %w", err)
	}
	if a.trust, err = a.openTrust(ctx, keys{a.member}); err != nil {
		return err
	}
	if a.store, err = localstore.Open(a.member, v1alpha1.SystemNamespace); err != nil {
		return err
	}
	a.store.Guard(a.holder.Confirm)
	if a.engine, err = apply.New(a.Config, apply.Options{Memory: a.store, Clock: clock.Now, Log: a.Log}); err != nil {
		return err
	}
	a.upgrader = a.newUpgrader()
	if a.tunnel, err = a.openTunnel(); err != nil {
		return err
	}
	key, err := seal.ParseKey(a.trust.Identity().SealingKey)
	if err != nil {
		return fmt.Errorf("read the agent's sealing key: %w", err)
	}
	a.memory = newMemory(newContents(a.Bootstrap.Cluster, key), a.store, a.engine, a.Log)
	return a.memory.load(ctx)
}

// identify waits for the member and reads which cluster this is.
func (a *agent) identify(ctx context.Context) error {
	for wait := time.Second; ; wait = min(2*wait, 30*time.Second) {
		ns, err := a.member.CoreV1().Namespaces().Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{})
		if err == nil {
			a.uid = string(ns.UID)
			return nil
		}
		a.Log.Warn("the member's API does not answer yet", "err", err)
		if !sleep(ctx, wait) {
			return fmt.Errorf("read the member's identity: %w", err)
		}
	}
}

func (a *agent) openTunnel() (*tunnel, error) {
	limits := func() Forbidden {
		l := a.engine.Limits()
		return Forbidden{Tunnel: l.Tunnel, Exec: l.Exec, Logs: l.Logs}
	}
	return newTunnel(a.tunnelConfig(), limits, a.local(), a.Log)
}

// sleep reports false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
