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
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/apply"
	"atoll.dev/atoll/internal/join"
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
}

// Run works until ctx ends. It returns an error only when it cannot work at
// all; a hub or a member that is away is waited for.
func Run(ctx context.Context, o Options) error {
	a := &agent{Options: o, instance: instance()}
	if err := a.prepare(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := make(chan struct{}, 3)
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
	start("link", a.stayLinked)
	<-ctx.Done()
	for range 3 {
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
	if err := a.identify(ctx); err != nil {
		return err
	}
	if a.trust, err = a.openTrust(ctx); err != nil {
		return err
	}
	if a.store, err = localstore.Open(a.member, v1alpha1.SystemNamespace); err != nil {
		return err
	}
	if a.engine, err = apply.New(a.Config, apply.Options{Memory: a.store, Log: a.Log}); err != nil {
		return err
	}
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
