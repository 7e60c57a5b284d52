package hub

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/agent"
	"atoll.dev/atoll/internal/join"
	"atoll.dev/atoll/internal/trust"
	"atoll.dev/atoll/internal/version"
)

// direct runs the agent inside the hub for clusters that are reached by
// kubeconfig. It is the same agent, over the same port, with the same trust:
// only where it runs differs.
type direct struct {
	hub *hub

	mu      sync.Mutex
	running map[string]*directAgent
}

type directAgent struct {
	cancel context.CancelFunc
}

func newDirect(h *hub) *direct {
	return &direct{hub: h, running: map[string]*directAgent{}}
}

// ensure starts the agent of a direct cluster.
func (d *direct) ensure(ctx context.Context, name string) error {
	c := &v1alpha1.Cluster{}
	if err := d.hub.mgr.GetClient().Get(ctx, client.ObjectKey{Name: name}, c); err != nil {
		if apierrors.IsNotFound(err) {
			d.stop(name)
			return nil
		}
		return err
	}
	if c.Spec.Direct == nil || c.DeletionTimestamp != nil {
		d.stop(name)
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.running[name] != nil {
		return nil
	}
	secret := &corev1.Secret{}
	key := client.ObjectKey{Namespace: v1alpha1.SystemNamespace, Name: c.Spec.Direct.SecretName}
	if err := d.hub.live.Get(ctx, key, secret); err != nil {
		return fmt.Errorf("read its kubeconfig: %w", err)
	}
	cfg, err := clientcmd.RESTConfigFromKubeConfig(secret.Data["kubeconfig"])
	if err != nil {
		return fmt.Errorf("read the kubeconfig in secret %s: %w", key, err)
	}
	bootstrap, err := d.bootstrap(ctx, c)
	if err != nil {
		return err
	}
	if err := install(ctx, cfg); err != nil {
		return err
	}
	run, cancel := context.WithCancel(context.Background())
	d.running[name] = &directAgent{cancel: cancel}
	go func() {
		err := agent.Run(run, agent.Options{Config: cfg, Bootstrap: bootstrap, Version: version.Version, Log: d.hub.Log.With("agent", name)})
		if err != nil && run.Err() == nil {
			d.hub.Log.Warn("the agent of a direct cluster stopped", "cluster", name, "err", err)
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.running[name] != nil && run.Err() == nil {
			delete(d.running, name)
		}
	}()
	return nil
}

// bootstrap makes a token unless the cluster has joined already.
func (d *direct) bootstrap(ctx context.Context, c *v1alpha1.Cluster) (join.Ticket, error) {
	roots, err := json.Marshal(d.hub.ca.Roots())
	if err != nil {
		return join.Ticket{}, err
	}
	b := join.Ticket{Cluster: c.Name, Address: d.hub.listener.Addr().String(), Roots: string(roots)}
	if c.Status.Identity != nil {
		return b, nil
	}
	token, record := trust.NewToken(c.Name, time.Now())
	b.Token = token
	return b, d.hub.registry.SaveToken(ctx, record)
}

func (d *direct) stop(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if a := d.running[name]; a != nil {
		a.cancel()
		delete(d.running, name)
	}
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
