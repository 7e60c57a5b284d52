package cli

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"atoll.dev/atoll/api/v1alpha1"
)

type acceptOptions struct {
	incarnation bool
	timeout     time.Duration
}

func newAccept(c *console) *cobra.Command {
	o := acceptOptions{}
	cmd := &cobra.Command{
		Use:   "accept CLUSTER",
		Short: "Accept the agent that asks to join as a cluster",
		Long: `Accept the agent that asks to join: the hub's half of the double opt-in. The
identity that it showed is printed, to compare with the member's own. When no agent
has asked yet, it is waited for.

With --incarnation the cluster may follow a hub that was restored or rebuilt, where
what it has newer or more of than the hub is held (HubOlderThanAgent).`,
		Example: `  atoll accept us-east-1
  atoll accept us-east-1 --incarnation`,
		Args:              takes(1, "the name of a cluster"),
		ValidArgsFunction: c.completeNames(clusterKind),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.accept(cmd.Context(), args[0], o)
		},
	}
	cmd.Flags().BoolVar(&o.incarnation, "incarnation", false, "let the cluster follow this hub, which was restored or rebuilt")
	cmd.Flags().DurationVar(&o.timeout, "timeout", time.Minute, "how long to wait for the agent to ask")
	return cmd
}

func (c *console) accept(ctx context.Context, arg string, o acceptOptions) error {
	h, err := c.connect()
	if err != nil {
		return err
	}
	cl, err := h.cluster(ctx, arg)
	if err != nil {
		return err
	}
	if o.incarnation {
		return c.acceptIncarnation(ctx, h, cl)
	}
	if cl.Spec.Accepted {
		c.print("%s already accepted", clusterKind.ref(cl.Name))
		return nil
	}
	if cl, err = c.asked(ctx, h, cl, o.timeout); err != nil {
		return err
	}
	c.say("Cluster UID      %s\nKey fingerprint  %s", cl.Status.Identity.ClusterUID, cl.Status.Identity.KeyFingerprint)
	if err := h.merge(ctx, clusterKind, "", cl.Name, map[string]any{"spec": map[string]any{"accepted": true}}); err != nil {
		return err
	}
	c.print("%s accepted", clusterKind.ref(cl.Name))
	return nil
}

// asked waits until an agent has shown its identity.
func (c *console) asked(ctx context.Context, h *hub, cl *v1alpha1.Cluster, timeout time.Duration) (*v1alpha1.Cluster, error) {
	if cl.Status.Identity != nil {
		return cl, nil
	}
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	p := c.progress()
	err := h.follow(limited, target{kind: clusterKind, name: cl.Name}, []string{"joined"}, p)
	p.done()
	if err != nil && ctx.Err() == nil && errors.Is(limited.Err(), context.DeadlineExceeded) {
		c.say("No agent has asked to join %s; install it with: atoll join %s -o yaml | kubectl --context MEMBER apply -f -", cl.Name, cl.Name)
		return nil, no()
	}
	if err != nil {
		return nil, err
	}
	return h.cluster(ctx, cl.Name)
}

func (c *console) acceptIncarnation(ctx context.Context, h *hub, cl *v1alpha1.Cluster) error {
	o, err := h.fleet.Overview(ctx)
	if err != nil {
		return err
	}
	patch := map[string]any{"metadata": map[string]any{"annotations": map[string]any{v1alpha1.AnnotationAcceptIncarnation: o.Hub.Incarnation}}}
	if err := h.merge(ctx, clusterKind, "", cl.Name, patch); err != nil {
		return err
	}
	c.print("%s follows incarnation %s", clusterKind.ref(cl.Name), o.Hub.Incarnation)
	return nil
}
