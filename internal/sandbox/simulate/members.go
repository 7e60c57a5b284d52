package simulate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/agent"
	"atoll.dev/atoll/internal/fleet"
	"atoll.dev/atoll/internal/join"
	"atoll.dev/atoll/internal/sandbox/standin"
)

// slotLabel is the label by which applications choose their clusters.
const slotLabel = "simulate.atoll.dev/slot"

// member is one simulated cluster with its agent.
type member struct {
	name   string
	api    *standin.Member // nil where the agent is light
	ticket join.Ticket
}

func (m *member) close() {
	if m != nil && m.api != nil {
		m.api.Close()
	}
}

// register makes the project, the clusters in their slots, and the members.
func (r *rig) register(ctx context.Context) error {
	if err := r.project(ctx); err != nil {
		return err
	}
	members := make([]*member, r.Agents)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(16)
	for i := range members {
		group.Go(func() error {
			m, err := r.registerOne(ctx, i)
			members[i] = m
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	r.members = members
	return nil
}

func (r *rig) registerOne(ctx context.Context, i int) (*member, error) {
	name := fmt.Sprintf("sim-%05d", i)
	c := &v1alpha1.Cluster{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{slotLabel: strconv.Itoa(i % r.slots())}}}
	c.Spec.Owner, c.Spec.Accepted = "simulate", true
	if err := r.hub.Client.Create(ctx, c); err != nil && !apierrors.IsAlreadyExists(err) {
		return nil, fmt.Errorf("register %s: %w", name, err)
	}
	t, err := r.hub.Fleet.Join(ctx, name, fleet.JoinRequest{})
	if err != nil {
		return nil, fmt.Errorf("let %s join: %w", name, err)
	}
	m := &member{name: name, ticket: join.Ticket{Cluster: name, Token: t.Token, Address: t.Address, Roots: t.Roots}}
	if !r.Light {
		m.api = standin.New(standin.Options{
			Name: name, UID: types.UID("uid-of-" + name), Version: "v1.36.3", Nodes: r.Nodes,
			Wrote: func(gvr schema.GroupVersionResource, u *unstructured.Unstructured) { r.wrote(i, gvr, u) },
		})
	}
	return m, nil
}

// join starts every agent, which end with agents, and waits until all are
// connected. Light ones come a few at a time: how a crowd joins is measured
// with real ones.
func (r *rig) join(ctx, agents context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	crowd := make(chan struct{}, lightAtOnce)
	for _, m := range r.members {
		run := r.runAgent
		if r.Light {
			select {
			case crowd <- struct{}{}:
			case <-ctx.Done():
				return ctx.Err()
			}
			run = func(ctx context.Context, m *member) error { return r.runLight(ctx, m, func() { <-crowd }) }
		}
		r.agents.Go(func() {
			if err := run(agents, m); err != nil && !errors.Is(err, context.Canceled) {
				r.Log.Error("an agent ended", "cluster", m.name, "err", err)
			}
		})
	}
	return r.allConnected(ctx)
}

func (r *rig) runAgent(ctx context.Context, m *member) error {
	return agent.Run(ctx, agent.Options{
		Config: m.api.Config(), Bootstrap: m.ticket, Version: r.Version,
		Log: r.Log.With(slog.String("cluster", m.name)),
	})
}
