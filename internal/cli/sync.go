package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/fleet"
	follow "atoll.dev/atoll/internal/source"
)

// syncOptions are what a sync is to do beside applying everything once more.
type syncOptions struct {
	aboutApp
	force   bool
	consent consent
}

func newSync(c *console) *cobra.Command {
	o := syncOptions{}
	cmd := &cobra.Command{
		Use:   "sync app/NAME",
		Short: "Look at its source and apply everything once more, now",
		Long: `Have the source looked at now, and every cluster's agent render and apply everything
once more, without waiting for the next attempt after failures. Hooks that failed run
again, and in drift mode Report what others changed is put right this once. A pause in
a member holds, and what is asked for does not change. With -C only that cluster's
agent is asked, and not the source.

With --force an object whose change is refused, because it touches what cannot be
changed, is deleted and made anew with all that it owns, such as the pods of a
Deployment: it is gone for a while. Nothing is deleted before the cluster has said that
it would take the new one, nor beyond the project's deletion budget, nor what its
annotations keep, nor volumes, namespaces and definitions. What is refused now is
listed before it asks for the name; scripts give --confirm or --yes. It takes the right
to delete the application.

It does not wait for the outcome: atoll wait does. Exit codes: 0 all agents have begun,
3 only some answered. An agent that is away begins anew when it is back anyway.`,
		Example: `  atoll sync app/shop
  atoll sync app/shop -C us-east-1
  atoll sync app/shop --force --confirm shop
  atoll sync app/shop && atoll wait app/shop --for=synced,healthy`,
		Args:              takes(1, "an application: app/NAME"),
		ValidArgsFunction: c.completeRefs(applicationKind),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.sync(cmd.Context(), args[0], o)
		},
	}
	o.addFlags(c, cmd)
	o.consent.addFlags(cmd)
	cmd.Flags().BoolVar(&o.force, "force", false, "delete and make anew what cannot be changed")
	return cmd
}

func (c *console) sync(ctx context.Context, arg string, a syncOptions) error {
	if !a.force && a.consent != (consent{}) {
		return wrong("--confirm and --yes go with --force; a sync without it asks for nothing new")
	}
	h, app, err := c.open(ctx, arg, a.aboutApp)
	if err != nil {
		return err
	}
	if err := thawed(app); err != nil {
		return err
	}
	begin := h.fleet.Sync
	if a.force {
		if err := c.agreeToForce(ctx, h, app, a); err != nil {
			return err
		}
		begin = h.fleet.Force
	}
	if a.cluster == "" && follow.Followed(app.Spec.Source) != nil {
		patch := map[string]any{"metadata": map[string]any{"annotations": map[string]any{v1alpha1.AnnotationFetch: time.Now().UTC().Format(time.RFC3339Nano)}}}
		if err := h.merge(ctx, applicationKind, app.Namespace, app.Name, patch); err != nil {
			return err
		}
		c.say("Its source is looked at now.")
	}
	s, err := begin(ctx, app.Namespace, app.Name, a.cluster)
	if err != nil {
		return err
	}
	switch {
	case a.output != "text":
		err = encode(c.Out, a.output, s)
	case len(s.Clusters)+len(s.Silent) == 0:
		c.say("%s is on no cluster yet; ask why with: atoll explain %s --placement", app.Name, appRef(app.Namespace, app.Name))
	case len(s.Clusters) > 0:
		c.print("%s applied once more on %s", applicationKind.ref(app.Name), count(len(s.Clusters), "cluster"))
	}
	if err != nil {
		return err
	}
	if a.force && len(s.Clusters) > 0 {
		c.say("What cannot be changed is deleted and made anew there now; see what becomes of it: atoll tree %s", appRef(app.Namespace, app.Name))
	}
	return c.silent(s.Silent)
}

// agreeToForce lists what the clusters refuse now, and asks.
func (c *console) agreeToForce(ctx context.Context, h *hub, app *v1alpha1.Application, a syncOptions) error {
	if app.Spec.Placement != nil && app.Spec.Placement.Hub {
		return wrong("%s is delivered to the hub itself, where nothing is deleted to be made anew; delete the object by hand, or mend it at its source", app.Name)
	}
	states, err := h.fleet.ApplicationClusters(ctx, app.Namespace, app.Name)
	if err != nil {
		return err
	}
	g := refusedNow(states.Clusters, a.cluster)
	g.width = c.width
	if len(g.rows) == 0 {
		c.say("No cluster reports an object that is refused. What a cluster refuses to change is DELETED there and made anew, with all that it owns.")
	} else {
		c.say("These are refused now. What a cluster refuses to change is DELETED there and made anew, with all that it owns:")
		if err := g.write(c.Err, false); err != nil {
			return err
		}
	}
	return c.confirm(ctx, app.Name, a.consent)
}

// refusedNow are the objects that the API servers of members refuse.
func refusedNow(states []fleet.ClusterState, only string) grid {
	g := grid{indent: "  ", head: []string{"CLUSTER", "OBJECT", "WHY"}}
	for _, s := range states {
		for _, p := range s.State.Problems {
			if p.Reason == "Invalid" && (only == "" || only == s.Cluster) {
				g.add(text(s.Cluster), text(label(p.Object)), text(p.Message))
			}
		}
	}
	return g
}
