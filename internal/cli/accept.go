package cli

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"atoll.dev/atoll/api/v1alpha1"
)

type acceptOptions struct {
	incarnation bool
	all         bool
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

A hub that was restored or rebuilt serves no cluster before it is confirmed by the
same command, for it cannot know which clusters were removed after its backup, or
before its loss: remove those first. --all confirms all that were accepted before.

With --incarnation the cluster is confirmed, and may follow a hub that was restored
or rebuilt, where what it has newer or more of than the hub is held
(HubOlderThanAgent).`,
		Example: `  atoll accept us-east-1
  atoll accept --all
  atoll accept us-east-1 --incarnation`,
		Args: func(cmd *cobra.Command, args []string) error {
			if o.all {
				return takesNothing(cmd, args)
			}
			return takes(1, "the name of a cluster, or --all")(cmd, args)
		},
		ValidArgsFunction: c.completeNames(clusterKind),
		RunE: func(cmd *cobra.Command, args []string) error {
			h, err := c.connect()
			if err != nil {
				return err
			}
			if o.all {
				return c.acceptAll(cmd.Context(), h, o)
			}
			return c.accept(cmd.Context(), h, args[0], o)
		},
	}
	cmd.Flags().BoolVar(&o.incarnation, "incarnation", false, "let the cluster follow this hub, which was restored or rebuilt")
	cmd.Flags().BoolVar(&o.all, "all", false, "after a restore or a rebuild: every cluster that was accepted before")
	cmd.Flags().DurationVar(&o.timeout, "timeout", time.Minute, "how long to wait for the agent to ask")
	return cmd
}

func (c *console) accept(ctx context.Context, h *hub, arg string, o acceptOptions) error {
	cl, err := h.cluster(ctx, arg)
	if err != nil {
		return err
	}
	if cl.Spec.Accepted && (o.incarnation || !cl.Confirmed()) {
		return c.confirmClusters(ctx, h, []v1alpha1.Cluster{*cl}, o.incarnation)
	}
	if cl.Spec.Accepted {
		c.print("%s already accepted", clusterKind.ref(cl.Name))
		return nil
	}
	if cl, err = c.asked(ctx, h, cl, o.timeout); err != nil {
		return err
	}
	c.sayIdentity(cl)
	if err := h.merge(ctx, clusterKind, "", cl.Name, map[string]any{"spec": map[string]any{"accepted": true}}); err != nil {
		return err
	}
	c.print("%s accepted", clusterKind.ref(cl.Name))
	if o.incarnation {
		return c.confirmClusters(ctx, h, []v1alpha1.Cluster{*cl}, true)
	}
	return nil
}

func (c *console) sayIdentity(cl *v1alpha1.Cluster) {
	c.say("Cluster UID      %s\nKey fingerprint  %s", cl.Status.Identity.ClusterUID, cl.Status.Identity.KeyFingerprint)
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

// acceptAll is for a hub that was restored or rebuilt: a cluster that nobody accepted
// before is nobody's to accept in passing.
func (c *console) acceptAll(ctx context.Context, h *hub, o acceptOptions) error {
	all, err := fetchAll[v1alpha1.Cluster](ctx, h, clusterKind, "", metav1.ListOptions{})
	if err != nil {
		return err
	}
	var waiting []v1alpha1.Cluster
	for _, cl := range all {
		if cl.Spec.Accepted && (o.incarnation || !cl.Confirmed()) {
			waiting = append(waiting, cl)
		}
	}
	if len(waiting) == 0 {
		c.say("no cluster waits to be confirmed")
	}
	return c.confirmClusters(ctx, h, waiting, o.incarnation)
}

// confirmClusters lets the agents of accepted clusters be served by a restored hub and,
// when asked, follow it.
func (c *console) confirmClusters(ctx context.Context, h *hub, clusters []v1alpha1.Cluster, follow bool) error {
	annotations := map[string]any{v1alpha1.AnnotationUnconfirmed: nil}
	what := "confirmed"
	if follow {
		o, err := h.fleet.Overview(ctx)
		if err != nil {
			return err
		}
		annotations[v1alpha1.AnnotationAcceptIncarnation] = o.Hub.Incarnation
		what = "follows incarnation " + o.Hub.Incarnation
	}
	for i := range clusters {
		cl := &clusters[i]
		if !cl.Confirmed() && cl.Status.Identity != nil && len(clusters) == 1 {
			c.sayIdentity(cl)
		}
		if err := h.merge(ctx, clusterKind, "", cl.Name, map[string]any{"metadata": map[string]any{"annotations": annotations}}); err != nil {
			return err
		}
		c.print("%s %s", clusterKind.ref(cl.Name), what)
	}
	return nil
}
