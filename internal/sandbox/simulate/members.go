package simulate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"

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
	api    *standin.Member
	ticket join.Ticket
}

// register makes the clusters at the hub, in slots, and their members.
func (r *rig) register(ctx context.Context) error {
	r.members = make([]*member, r.Agents)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(16)
	for i := range r.members {
		group.Go(func() error {
			m, err := r.registerOne(ctx, i)
			r.members[i] = m
			return err
		})
	}
	return group.Wait()
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
	return &member{
		name: name,
		api: standin.New(standin.Options{
			Name: name, UID: types.UID("uid-of-" + name), Version: "v1.36.3", Nodes: r.Nodes,
			Wrote: func(gvr schema.GroupVersionResource, u *unstructured.Unstructured) { r.wrote(i, gvr, u) },
		}),
		ticket: join.Ticket{Cluster: name, Token: t.Token, Address: t.Address, Roots: t.Roots},
	}, nil
}

// run starts every agent, and returns at once; they end with ctx.
func (r *rig) run(ctx context.Context) *sync.WaitGroup {
	var wg sync.WaitGroup
	for _, m := range r.members {
		wg.Go(func() {
			err := agent.Run(ctx, agent.Options{
				Config: m.api.Config(), Bootstrap: m.ticket, Version: r.Version,
				Log: r.Log.With(slog.String("cluster", m.name)),
			})
			if err != nil && !errors.Is(err, context.Canceled) {
				r.Log.Error("an agent ended", "cluster", m.name, "err", err)
			}
		})
	}
	return &wg
}
