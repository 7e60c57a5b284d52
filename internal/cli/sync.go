package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"atoll.dev/atoll/api/v1alpha1"
	follow "atoll.dev/atoll/internal/source"
)

func newSync(c *console) *cobra.Command {
	a := aboutApp{}
	cmd := &cobra.Command{
		Use:   "sync app/NAME",
		Short: "Look at its source and apply everything once more, now",
		Long: `Have the source looked at now, and every cluster's agent render and apply everything
once more, without waiting for the next attempt after failures. Hooks that failed run
again, and in drift mode Report what others changed is put right this once. A pause in
a member holds, and what is asked for does not change. With -C only that cluster's
agent is asked, and not the source.

It does not wait for the outcome: atoll wait does. Exit codes: 0 all agents have begun,
3 only some answered. An agent that is away begins anew when it is back anyway.`,
		Example: `  atoll sync app/shop
  atoll sync app/shop -C us-east-1
  atoll sync app/shop && atoll wait app/shop --for=synced,healthy`,
		Args:              takes(1, "an application: app/NAME"),
		ValidArgsFunction: c.completeRefs(applicationKind),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.sync(cmd.Context(), args[0], a)
		},
	}
	a.addFlags(c, cmd)
	return cmd
}

func (c *console) sync(ctx context.Context, arg string, a aboutApp) error {
	h, app, err := c.open(ctx, arg, a)
	if err != nil {
		return err
	}
	if err := thawed(app); err != nil {
		return err
	}
	if a.cluster == "" && follow.Followed(app.Spec.Source) != nil {
		patch := map[string]any{"metadata": map[string]any{"annotations": map[string]any{v1alpha1.AnnotationFetch: time.Now().UTC().Format(time.RFC3339Nano)}}}
		if err := h.merge(ctx, applicationKind, app.Namespace, app.Name, patch); err != nil {
			return err
		}
		c.say("Its source is looked at now.")
	}
	s, err := h.fleet.Sync(ctx, app.Namespace, app.Name, a.cluster)
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
	return c.silent(s.Silent)
}
