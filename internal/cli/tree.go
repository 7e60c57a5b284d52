package cli

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"atoll.dev/atoll/internal/fleet"
	"atoll.dev/atoll/internal/report"
)

func newTree(c *console) *cobra.Command {
	a := aboutApp{}
	cmd := &cobra.Command{
		Use:   "tree app/NAME",
		Short: "The objects of an application on each cluster, down to the pods",
		Long: `Show every delivered object on each cluster and what the cluster made from it,
with its state. The clusters are asked now; those that do not answer are named
on stderr, and the exit code is then 3.`,
		Example: `  atoll tree app/shop
  atoll tree app/shop -C us-east-1
  atoll tree app/shop -o json`,
		Args:              takes(1, "an application: app/NAME"),
		ValidArgsFunction: c.completeRefs(applicationKind),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.tree(cmd.Context(), args[0], a)
		},
	}
	a.addFlags(c, cmd)
	return cmd
}

func (c *console) tree(ctx context.Context, arg string, a aboutApp) error {
	h, app, err := c.open(ctx, arg, a)
	if err != nil {
		return err
	}
	objects, err := h.fleet.Objects(ctx, app.Namespace, app.Name, a.cluster)
	if err != nil {
		return err
	}
	if a.output != "text" {
		err = encode(c.Out, a.output, objects)
	} else {
		err = writeTree(c.Out, applicationKind.word+"/"+app.Name, objects, c.view())
	}
	if err != nil {
		return err
	}
	if len(objects.Clusters)+len(objects.Silent) == 0 {
		c.say("%s is on no cluster yet; ask why with: atoll explain %s --placement", app.Name, appRef(app.Namespace, app.Name))
	}
	return c.silent(objects.Silent)
}

// writeTree draws branches on the left and states in columns on the right.
func writeTree(w io.Writer, root string, objects *fleet.ApplicationObjects, v view) error {
	g := grid{}
	g.add(cell{root, bold})
	for i, cluster := range objects.Clusters {
		last := i == len(objects.Clusters)-1
		g.add(cell{twig(last) + cluster.Cluster, bold}, text(""), text(""), cell{"as of " + ago(v.now, cluster.AsOf), dim})
		branch(&g, stem("", last), cluster.Objects)
	}
	return g.write(w, v.ink)
}

func branch(g *grid, prefix string, objects []fleet.Object) {
	for i, o := range objects {
		last := i == len(objects)-1
		message := o.Message
		if o.Health == report.HealthHealthy && o.Sync == report.InSync {
			message = "" // it only says so again
		}
		g.add(text(prefix+twig(last)+label(o.Ref)), state(string(o.Sync)), state(string(o.Health)), text(message))
		branch(g, stem(prefix, last), o.Owned)
	}
}

func twig(last bool) string {
	if last {
		return "└─ "
	}
	return "├─ "
}

func stem(prefix string, last bool) string {
	if last {
		return prefix + "   "
	}
	return prefix + "│  "
}

// label is "Deployment shop/web".
func label(r report.ObjectRef) string {
	if r.Namespace == "" {
		return r.Kind + " " + r.Name
	}
	return r.Kind + " " + r.Namespace + "/" + r.Name
}
