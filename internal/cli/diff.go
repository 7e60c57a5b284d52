package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"atoll.dev/atoll/internal/fleet"
	"atoll.dev/atoll/internal/report"
)

func newDiff(c *console) *cobra.Command {
	a := aboutApp{}
	cmd := &cobra.Command{
		Use:   "diff app/NAME",
		Short: "How the clusters differ from what is asked",
		Long: `Compare what is asked with what is live on each cluster, field by field. Values
of Secrets are never shown. Clusters with the same differences stand together.

Exit codes: 0 no differences, 1 differences, 2 a failure, 3 no differences among
the clusters that answered, but some did not.`,
		Example: `  atoll diff app/shop
  atoll diff app/shop -C us-east-1
  atoll diff app/shop > /dev/null && echo same`,
		Args:              takes(1, "an application: app/NAME"),
		ValidArgsFunction: c.completeRefs(applicationKind),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.diff(cmd.Context(), args[0], a)
		},
	}
	a.addFlags(c, cmd)
	return cmd
}

func (c *console) diff(ctx context.Context, arg string, a aboutApp) error {
	h, app, err := c.open(ctx, arg, a)
	if err != nil {
		return err
	}
	d, err := h.fleet.Diff(ctx, app.Namespace, app.Name, a.cluster)
	if err != nil {
		return err
	}
	if a.output != "text" {
		err = encode(c.Out, a.output, d)
	} else {
		err = writeDiff(c.Out, d, c.view())
	}
	if err != nil {
		return err
	}
	silence := c.silent(d.Silent)
	if differs(d) {
		return no()
	}
	if silence == nil && a.output == "text" {
		c.say("%s", sameSentence(app.Name, len(d.Clusters)))
	}
	return silence
}

func sameSentence(app string, clusters int) string {
	if clusters == 0 {
		return app + " is on no cluster; there is nothing to compare."
	}
	return fmt.Sprintf("%s is as asked on %s.", app, count(clusters, "cluster"))
}

func differs(d *fleet.ApplicationDiff) bool {
	for _, c := range d.Clusters {
		if len(c.Objects) > 0 {
			return true
		}
	}
	return false
}

// alike are clusters with the same differences.
type alike struct {
	clusters []string
	oldest   time.Time
	objects  []fleet.ObjectDiff
}

// grouped keeps the order of the first cluster of each group.
func grouped(d *fleet.ApplicationDiff) []*alike {
	var groups []*alike
	known := map[string]*alike{}
	for _, c := range d.Clusters {
		if len(c.Objects) == 0 {
			continue
		}
		key := diffKey(c.Objects)
		g := known[key]
		if g == nil {
			g = &alike{oldest: c.AsOf, objects: c.Objects}
			known[key] = g
			groups = append(groups, g)
		}
		g.clusters = append(g.clusters, c.Cluster)
		if c.AsOf.Before(g.oldest) {
			g.oldest = c.AsOf
		}
	}
	return groups
}

// diffKey leaves out when a field was changed, which differs everywhere.
func diffKey(objects []fleet.ObjectDiff) string {
	var b strings.Builder
	for _, o := range objects {
		changes := make([]report.Change, len(o.Changes))
		for i, ch := range o.Changes {
			ch.At = 0
			changes[i] = ch
		}
		o.Changes = changes
		data, _ := json.Marshal(o) // plain strings always encode
		b.Write(data)
	}
	return b.String()
}

func writeDiff(w io.Writer, d *fleet.ApplicationDiff, v view) error {
	b := &strings.Builder{}
	for i, g := range grouped(d) {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(b, "%s   %s\n", v.ink.paint(bold, list(g.clusters, 8)), v.ink.paint(dim, "as of "+ago(v.now, g.oldest)))
		for _, o := range g.objects {
			v.objectDiff(b, o)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

var diffMarks = map[string]struct {
	mark, words string
	paint       paint
}{
	"Create": {"+", "is missing", green},
	"Change": {"~", "", yellow},
	"Delete": {"-", "is no longer asked for", red},
	// The member would not take it.
	"Refused": {"!", "is refused", red},
}

func (v view) objectDiff(b *strings.Builder, o fleet.ObjectDiff) {
	m := diffMarks[o.Action]
	line := fallback(m.mark, "?") + " " + label(o.Ref)
	note := fallback(o.Message, m.words)
	if note != "" {
		note = "   " + note
	}
	fmt.Fprintf(b, "  %s%s\n", v.ink.paint(m.paint, line), note)
	for _, ch := range o.Changes {
		// A diff goes from what is live to what a sync makes of it.
		change := fmt.Sprintf("%s: live %s, asked %s", ch.Path, value(ch.Old), value(ch.New))
		for i, line := range wrap(change+changedBy(v, ch), v.width-8) {
			indent := "      "
			if i > 0 {
				indent = "        "
			}
			fmt.Fprintf(b, "%s%s\n", indent, line)
		}
	}
}

// valueShown is the longest value that is printed whole, in runes.
const valueShown = 60

func value(s string) string {
	if s == "" {
		return "<none>"
	}
	s = strings.ReplaceAll(s, "\n", "⏎")
	if r := []rune(s); len(r) > valueShown {
		return string(r[:valueShown-1]) + "…"
	}
	return s
}

func changedBy(v view, ch report.Change) string {
	if ch.Manager == "" {
		return ""
	}
	by := " (by " + ch.Manager
	if ch.At > 0 {
		by += " " + ago(v.now, time.UnixMilli(ch.At))
	}
	if ch.Paused != "" {
		by += ", paused until " + ch.Paused
	}
	return by + ")"
}
