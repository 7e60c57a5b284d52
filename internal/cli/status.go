package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/fleet"
)

func newStatus(c *console) *cobra.Command {
	output := ""
	cmd := &cobra.Command{
		Use:   "status",
		Short: "The whole fleet on one screen: what needs you, and the command for it",
		Long: `Show the fleet on one screen: which clusters are down and what that affects, what
is held, what fails and which decisions wait, each with the command that helps.

A section without entries is left out; when there is none, all is well.`,
		Example: `  atoll status
  atoll status -o json
  watch --color atoll status`,
		Args: takesNothing,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.status(cmd.Context(), output)
		},
	}
	addOutput(cmd, &output)
	return cmd
}

func (c *console) status(ctx context.Context, output string) error {
	if err := checkOutput(output); err != nil {
		return err
	}
	h, err := c.connect()
	if err != nil {
		return err
	}
	o, err := h.fleet.Overview(ctx)
	if err != nil {
		return notAHub(h, err)
	}
	if output != "text" {
		return encode(c.Out, output, o)
	}
	v := c.view()
	v.now = o.At // all ages are by the hub's clock, not by this machine's
	return writeOverview(c.Out, o, v)
}

// writeOverview draws the screen.
func writeOverview(w io.Writer, o *fleet.Overview, v view) error {
	b := &strings.Builder{}
	fmt.Fprintf(b, "%s   %s\n", v.ink.paint(bold, "Atoll "+o.Hub.Version),
		v.ink.paint(dim, fmt.Sprintf("%s storage, term %d, as of %s", o.Hub.Storage, o.Hub.Term, o.At.UTC().Format("15:04:05 UTC"))))
	totals := grid{width: v.width}
	totals.add(text("Clusters"), text(connectedSentence(o.Clusters)), cell{strings.Join(clusterExceptions(o.Clusters), ", "), yellow})
	totals.add(text("Applications"), text(deliveredSentence(o.Applications)), cell{strings.Join(exceptionCounts(o.Applications.Counts), ", "), yellow})
	if worst := o.Alerts.Worst; worst != nil {
		totals.add(text("Alerts"), text(alertSentence(o.Alerts)), cell{fmt.Sprintf("worst: %s of %s (atoll alerts)", worst.Name, worst.Subject()), severityPaint(worst.Severity)})
	}
	if err := totals.write(b, v.ink); err != nil {
		return err
	}
	v.attention(b, "FROZEN", yellow, o.Frozen)
	v.down(b, o.Down)
	v.attention(b, "HELD", yellow, o.Held)
	v.attention(b, "FAILING", red, o.Failing)
	v.attention(b, "DECISIONS", yellow, o.Decisions)
	if len(o.Frozen)+len(o.Down)+len(o.Held)+len(o.Failing)+len(o.Decisions)+o.Alerts.Total() == 0 {
		b.WriteString("\n" + v.allWell(o) + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func connectedSentence(t fleet.ClusterTotals) string {
	if t.Total == 0 {
		return "none yet"
	}
	return fmt.Sprintf("%d of %d connected", t.Connected, t.Total)
}

func clusterExceptions(t fleet.ClusterTotals) []string {
	var parts []string
	for _, p := range []struct {
		n    int
		word string
	}{{t.Disconnected, "disconnected"}, {t.Stale, "stale"}, {t.Pending, "pending"}, {t.Connected - t.Ready, "not ready"}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.word))
		}
	}
	return parts
}

func deliveredSentence(t fleet.AppTotals) string {
	if t.Applications == 0 {
		return "none yet"
	}
	n := t.Counts
	return fmt.Sprintf("%d on %s: %d in sync, %d healthy", t.Applications, count(n.Placed, "place"), n.InSync, n.Healthy)
}

// allWell never says so of a fleet that something is still unknown about.
func (v view) allWell(o *fleet.Overview) string {
	n := o.Applications.Counts
	switch {
	case o.Clusters.Total == 0:
		return "No clusters yet. Register the first one with: atoll join NAME --owner TEAM"
	case o.Applications.Applications == 0:
		return "No applications yet. Deliver the first one with: atoll deploy NAME -f PATH -p PROJECT --create-project --to SELECTOR"
	case n.InSync < n.Placed || n.Healthy < n.Placed:
		return v.ink.paint(yellow, "Work is under way; nothing waits for you.")
	default:
		return v.ink.paint(green, "All well.")
	}
}

// affectsShown bounds the applications named per cluster.
const affectsShown = 4

func (v view) down(b *strings.Builder, issues []fleet.ClusterIssue) {
	if len(issues) == 0 {
		return
	}
	v.section(b, "DOWN", red, len(issues))
	for _, i := range issues {
		since := "never connected"
		if !i.LastContact.IsZero() {
			since = "last seen " + ago(v.now, i.LastContact)
		}
		affects := "It affects no application"
		if len(i.Affects) > 0 {
			affects = "It affects " + list(i.Affects, affectsShown)
		}
		v.entry(b, v.ink.paint(bold, i.Cluster)+"   "+v.ink.paint(tone(string(i.State)), string(i.State))+", "+since,
			affects+": "+i.Message+".", fallback(i.Do, "atoll describe cluster "+i.Cluster))
	}
}

func (v view) attention(b *strings.Builder, title string, p paint, items []fleet.Attention) {
	if len(items) == 0 {
		return
	}
	v.section(b, title, p, len(items))
	for _, i := range items {
		head := v.ink.paint(bold, i.Subject)
		if i.Cluster != "" && !strings.HasSuffix(i.Subject, "/"+i.Cluster) {
			head += " on " + i.Cluster
		}
		head += "   " + v.ink.paint(p, i.Reason)
		if !i.Since.IsZero() {
			head += ", since " + age(v.now, i.Since)
		}
		v.entry(b, head, i.Message, i.Do)
	}
}

func (v view) section(b *strings.Builder, title string, p paint, n int) {
	fmt.Fprintf(b, "\n%s\n", v.ink.paint(p, fmt.Sprintf("%s (%d)", title, n)))
}

// entry is a headline, the sentence under it and the command to run.
func (v view) entry(b *strings.Builder, head, message, do string) {
	fmt.Fprintf(b, "  %s\n", head)
	if message != "" {
		for _, line := range wrap(message, v.width-4) {
			fmt.Fprintf(b, "    %s\n", line)
		}
	}
	if do != "" {
		fmt.Fprintf(b, "    %s %s\n", v.ink.paint(dim, "→"), do)
	}
}

func fallback(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// connection is a link's state for one line. While it is open the stored last
// contact lags behind the heartbeats, so it is shown only once it is lost.
func connection(v view, c v1alpha1.Connection) string {
	switch {
	case c.State == v1alpha1.Connected && c.Since != nil:
		return "Connected since " + ago(v.now, c.Since.Time)
	case c.State == v1alpha1.Connected, c.LastContact == nil:
		return string(c.State)
	default:
		return string(c.State) + ", last seen " + ago(v.now, c.LastContact.Time)
	}
}
