package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"atoll.dev/atoll/internal/explain"
)

func newExplain(c *console) *cobra.Command {
	a := aboutApp{}
	placed := false
	cmd := &cobra.Command{
		Use:   "explain app/NAME",
		Short: "The chain from source to health, the first broken link and what to do",
		Long: `Explain an application step by step: Source, Revision, Placement, and for each
cluster Desired, Delivery, Apply and Health. The first broken link is named at the
top, with what helps. Clusters on which all is well share one line.

With --placement: for every cluster of the fleet whether it was chosen, and why.`,
		Example: `  atoll explain app/shop
  atoll explain app/shop -C us-east-1
  atoll explain app/shop --placement`,
		Args:              takes(1, "an application: app/NAME"),
		ValidArgsFunction: c.completeRefs(applicationKind),
		RunE: func(cmd *cobra.Command, args []string) error {
			if placed {
				return c.explainPlacement(cmd.Context(), args[0], a)
			}
			return c.explain(cmd.Context(), args[0], a)
		},
	}
	a.addFlags(c, cmd)
	cmd.Flags().BoolVar(&placed, "placement", false, "why each cluster was chosen or not")
	return cmd
}

func (c *console) explain(ctx context.Context, arg string, a aboutApp) error {
	h, app, err := c.open(ctx, arg, a)
	if err != nil {
		return err
	}
	chain, err := h.fleet.Explain(ctx, app.Namespace, app.Name, a.cluster)
	if err != nil {
		return err
	}
	if a.output != "text" {
		return encode(c.Out, a.output, chain)
	}
	return writeChain(c.Out, chain, c.view())
}

var marks = map[explain.Outcome]struct {
	sign  string
	paint paint
}{
	explain.OK:      {"✓", green},
	explain.Waiting: {"…", yellow},
	explain.Broken:  {"✗", red},
	explain.Unknown: {"?", yellow},
}

// chainsShown bounds the clusters that are told step by step.
const chainsShown = 10

func writeChain(w io.Writer, chain *explain.Chain, v view) error {
	b := &strings.Builder{}
	tone := green
	if chain.First != nil {
		tone = marks[chain.First.Outcome].paint
	}
	for _, line := range wrap(chain.Summary, v.width) {
		fmt.Fprintln(b, v.ink.paint(tone, line))
	}
	b.WriteByte('\n')
	v.links(b, "", chain.Links)
	well, hidden := []string{}, 0
	for i, cluster := range chain.Clusters {
		switch {
		case allOK(cluster.Links) && len(chain.Clusters) > 1:
			well = append(well, cluster.Cluster)
		case i >= chainsShown:
			hidden++
		default:
			fmt.Fprintf(b, "\n%s\n", v.ink.paint(bold, cluster.Cluster))
			v.links(b, "  ", cluster.Links)
		}
	}
	if hidden > 0 {
		fmt.Fprintf(b, "\n%s more with trouble; see one with: atoll explain %s -C CLUSTER\n", count(hidden, "cluster"), appRef(chain.Project, chain.Application))
	}
	if len(well) > 0 {
		fmt.Fprintf(b, "\n%s %s on %s\n", v.ink.paint(green, "✓"), "In sync and healthy", list(well, 8))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func allOK(links []explain.Link) bool {
	for _, l := range links {
		if l.Outcome != explain.OK {
			return false
		}
	}
	return true
}

// stageWidth is that of the longest stage's name.
const stageWidth = len(explain.Placement)

func (v view) links(b *strings.Builder, indent string, links []explain.Link) {
	for _, l := range links {
		m := marks[l.Outcome]
		head := fmt.Sprintf("%s%s %-*s  ", indent, v.ink.paint(m.paint, fallback(m.sign, "?")), stageWidth, l.Stage)
		hang := strings.Repeat(" ", len(indent)+2+stageWidth+2)
		lines := wrap(l.Why, v.width-len(hang))
		fmt.Fprintf(b, "%s%s\n", head, lines[0])
		for _, line := range lines[1:] {
			fmt.Fprintf(b, "%s%s\n", hang, line)
		}
		if l.Do == "" {
			continue
		}
		for i, line := range wrap(l.Do, v.width-len(hang)-2) {
			arrow := "  "
			if i == 0 {
				arrow = "→ "
			}
			fmt.Fprintf(b, "%s%s%s\n", hang, v.ink.paint(dim, arrow), line)
		}
	}
}
