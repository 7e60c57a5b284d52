package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/fleet"
)

func newAllowDeletion(c *console) *cobra.Command {
	given := consent{}
	cmd := &cobra.Command{
		Use:   "allow-deletion app/NAME",
		Short: "Release a deletion that is held, after showing what it deletes",
		Long: `Release the deletion that an application's clusters hold back (DeletionHeld). It
lists what would be deleted and where, asks for the name on a terminal, and allows
exactly that list: a deletion that changes meanwhile is held again.`,
		Example: `  atoll allow-deletion app/shop
  atoll allow-deletion app/shop --confirm shop`,
		Args:              takes(1, "an application: app/NAME"),
		ValidArgsFunction: c.completeRefs(applicationKind),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.allowDeletion(cmd.Context(), args[0], given)
		},
	}
	given.addFlags(cmd)
	return cmd
}

func (c *console) allowDeletion(ctx context.Context, arg string, given consent) error {
	h, app, err := c.open(ctx, arg, aboutApp{output: "text"})
	if err != nil {
		return err
	}
	states, err := h.fleet.ApplicationClusters(ctx, app.Namespace, app.Name)
	if err != nil {
		return err
	}
	digests, held := heldDeletions(states.Clusters)
	if states.LeavingDigest != "" {
		digests = append(digests, states.LeavingDigest)
	}
	if len(digests) == 0 {
		c.say("No deletion of %s is held.", app.Name)
		return no()
	}
	c.say("This deletion of %s is held:", app.Name)
	if err := c.listHeld(held, states.Leaving); err != nil {
		return err
	}
	if err := c.confirm(ctx, app.Name, given); err != nil {
		return err
	}
	patch := map[string]any{"metadata": map[string]any{"annotations": map[string]any{v1alpha1.AnnotationAllowDeletion: strings.Join(digests, ",")}}}
	if err := h.merge(ctx, applicationKind, app.Namespace, app.Name, patch); err != nil {
		return err
	}
	c.print("%s deletion allowed", applicationKind.ref(app.Name))
	return nil
}

// heldDeletions are the distinct digests in order, and the states that hold one.
func heldDeletions(states []fleet.ClusterState) (digests []string, held []fleet.ClusterState) {
	known := map[string]bool{}
	for _, s := range states {
		digest := s.State.HeldDeletion
		if digest == "" {
			continue
		}
		held = append(held, s)
		if !known[digest] {
			known[digest] = true
			digests = append(digests, digest)
		}
	}
	return digests, held
}

func (c *console) listHeld(held []fleet.ClusterState, leaving []string) error {
	g := grid{indent: "  ", head: []string{"CLUSTER", "OBJECT", "WHY"}, width: c.width}
	for _, s := range held {
		listed := false
		for _, p := range s.State.Problems {
			if strings.HasPrefix(p.Reason, "Deletion") {
				g.add(text(s.Cluster), text(label(p.Object)), text(p.Message))
				listed = true
			}
		}
		if !listed {
			g.add(text(s.Cluster), text(""), text(s.State.Message))
		}
	}
	for _, cluster := range leaving {
		g.add(text(cluster), text("everything there"), text("the cluster no longer matches the placement"))
	}
	return g.write(c.Err, false)
}
