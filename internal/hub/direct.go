package hub

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/agent"
	"atoll.dev/atoll/internal/clock"
	"atoll.dev/atoll/internal/join"
	"atoll.dev/atoll/internal/trust"
	"atoll.dev/atoll/internal/version"
)

// direct runs the agent inside the hub for clusters that are reached by
// kubeconfig. It is the same agent, over the same port, with the same trust:
// only where it runs differs. Each has a goroutine of its own, so that one that
// cannot be reached keeps nobody waiting.
type direct struct {
	hub *hub

	mu      sync.Mutex
	running map[string]*keeper
	group   sync.WaitGroup
	stopped bool
}

// keeper keeps the agent of one cluster running.
type keeper struct {
	direct *direct
	name   string
	uid    types.UID
	secret client.ObjectKey
	cancel context.CancelFunc
	done   chan struct{}
}

func newDirect(h *hub) *direct {
	return &direct{hub: h, running: map[string]*keeper{}}
}

// run ends every agent when ctx ends, and returns when the last one has.
func (d *direct) run(ctx context.Context) error {
	<-ctx.Done()
	d.mu.Lock()
	d.stopped = true
	for name := range d.running {
		d.end(name)
	}
	d.mu.Unlock()
	d.group.Wait()
	return nil
}

// ensure starts the agent of a direct cluster, or ends it.
func (d *direct) ensure(ctx context.Context, name string) error {
	c := &v1alpha1.Cluster{}
	if err := d.hub.mgr.GetClient().Get(ctx, client.ObjectKey{Name: name}, c); client.IgnoreNotFound(err) != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if c.Spec.Direct == nil || c.DeletionTimestamp != nil { // so is one that does not exist
		d.end(name)
		return nil
	}
	secret := client.ObjectKey{Namespace: d.hub.Namespace, Name: c.Spec.Direct.SecretName}
	old := d.running[name]
	if old != nil && old.uid == c.UID && old.secret == secret || d.stopped {
		return nil
	}
	d.end(name)
	run, cancel := context.WithCancel(context.Background()) // it outlives this reconcile
	k := &keeper{direct: d, name: name, uid: c.UID, secret: secret, cancel: cancel, done: make(chan struct{})}
	d.running[name] = k
	d.group.Go(func() {
		defer close(k.done)
		if old != nil {
			<-old.done // never two agents of one member
		}
		k.keep(run)
	})
	return nil
}

func (d *direct) stop(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.end(name)
}

// end does not wait; d.mu is held.
func (d *direct) end(name string) {
	if k := d.running[name]; k != nil {
		k.cancel()
		delete(d.running, name)
	}
}

// Waits between attempts to run a direct agent.
const (
	firstAttempt = time.Second
	lastAttempt  = time.Minute
)

func (k *keeper) keep(ctx context.Context) {
	log := k.direct.hub.Log
	for wait := firstAttempt; ctx.Err() == nil; wait = min(2*wait, lastAttempt) {
		began := time.Now()
		if err := k.once(ctx); err != nil && ctx.Err() == nil {
			log.Warn("the agent of a direct cluster does not run", "cluster", k.name, "err", err)
		}
		if time.Since(began) > lastAttempt {
			wait = firstAttempt
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// once runs the agent until it ends or its kubeconfig changes.
func (k *keeper) once(ctx context.Context) error {
	h := k.direct.hub
	kubeconfig, err := k.kubeconfig(ctx)
	if err != nil {
		return err
	}
	cfg, err := configOf(kubeconfig)
	if err != nil {
		return fmt.Errorf("read the kubeconfig in secret %s: %w", k.secret, err)
	}
	bootstrap, err := k.direct.bootstrap(ctx, k.name)
	if err != nil {
		return err
	}
	if err := install(ctx, cfg); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go k.watch(ctx, kubeconfig, cancel)
	return agent.Run(ctx, agent.Options{Config: cfg, Bootstrap: bootstrap, Version: version.Version, Log: h.Log.With("agent", k.name)})
}

// look is how often the Secret is compared.
const look = 30 * time.Second

// watch calls changed once the kubeconfig is another one.
func (k *keeper) watch(ctx context.Context, kubeconfig []byte, changed func()) {
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if now, err := k.kubeconfig(ctx); err == nil && !bytes.Equal(now, kubeconfig) {
				k.direct.hub.Log.Info("the kubeconfig of a direct cluster has changed", "cluster", k.name)
				changed()
				return
			}
		}
	}
}

func (k *keeper) kubeconfig(ctx context.Context) ([]byte, error) {
	secret := &corev1.Secret{}
	if err := k.direct.hub.live.Get(ctx, k.secret, secret); err != nil {
		return nil, fmt.Errorf("read its kubeconfig: %w", err)
	}
	return secret.Data["kubeconfig"], nil
}

// configOf refuses what would run a program or read a file of the hub's machine.
func configOf(kubeconfig []byte) (*rest.Config, error) {
	cfg, err := clientcmd.RESTConfigFromKubeConfig(kubeconfig)
	switch {
	case err != nil:
		return nil, err
	case cfg.ExecProvider != nil || cfg.AuthProvider != nil:
		return nil, errors.New("it runs a program to log in; give it a token or a certificate")
	case cfg.BearerTokenFile != "" || cfg.CertFile != "" || cfg.KeyFile != "" || cfg.CAFile != "":
		return nil, errors.New("it names files; write their contents into it (kubectl config view --flatten --raw)")
	}
	return cfg, nil
}

// bootstrap makes a token unless the cluster has joined already.
func (d *direct) bootstrap(ctx context.Context, name string) (join.Ticket, error) {
	c := &v1alpha1.Cluster{}
	if err := d.hub.live.Get(ctx, client.ObjectKey{Name: name}, c); err != nil {
		return join.Ticket{}, err
	}
	roots, err := json.Marshal(d.hub.ca.Roots())
	if err != nil {
		return join.Ticket{}, err
	}
	b := join.Ticket{Cluster: c.Name, Address: d.hub.listener.Addr().String(), Roots: string(roots)}
	if c.Status.Identity != nil {
		return b, nil
	}
	token, record := trust.NewToken(c.Name, clock.Now())
	b.Token = token
	return b, d.hub.registry.SaveToken(ctx, record)
}

// install makes in the member what `atoll join` would have installed for the
// tunnel; the agent itself works with the kubeconfig's own account.
func install(ctx context.Context, cfg *rest.Config) error {
	c, err := client.New(cfg, client.Options{})
	if err != nil {
		return fmt.Errorf("connect to the member: %w", err)
	}
	for _, o := range join.TunnelAccess() {
		u, err := join.Plain(o)
		if err != nil {
			return err
		}
		if err := c.Apply(ctx, client.ApplyConfigurationFromUnstructured(u), client.ForceOwnership, client.FieldOwner("atoll-hub")); err != nil {
			return fmt.Errorf("set up %s %s in the member: %w", u.GetKind(), u.GetName(), err)
		}
	}
	return nil
}
