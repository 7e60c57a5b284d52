package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"atoll.dev/atoll/internal/fleet"
)

func newEvents(c *console) *cobra.Command {
	a, all := aboutApp{}, false
	cmd := &cobra.Command{
		Use:   "events app/NAME",
		Short: "What happened to an application, on the hub and on its clusters",
		Long: `Show what happened to an application, newest last: the hub's own events and those
of its objects on the clusters. What clusters do all day, such as scheduling a pod,
is left out unless --all is given. Clusters that do not answer are named on stderr,
and the exit code is then 3.`,
		Example: `  atoll events app/shop
  atoll events app/shop -C us-east-1 --all
  atoll events app/shop -o json`,
		Args:              takes(1, "an application: app/NAME"),
		ValidArgsFunction: c.completeRefs(applicationKind),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.events(cmd.Context(), args[0], a, all)
		},
	}
	a.addFlags(c, cmd)
	cmd.Flags().BoolVar(&all, "all", false, "show the routine events of clusters too")
	return cmd
}

func (c *console) events(ctx context.Context, arg string, a aboutApp, all bool) error {
	h, app, err := c.open(ctx, arg, a)
	if err != nil {
		return err
	}
	events, err := h.fleet.Events(ctx, app.Namespace, app.Name)
	if err != nil {
		return err
	}
	if a.cluster != "" {
		events = eventsOf(events, a.cluster)
	}
	hidden := 0
	if !all {
		events, hidden = notable(events)
	}
	switch {
	case a.output != "text":
		err = encode(c.Out, a.output, events)
	case len(events.Events) == 0:
		c.say("No events of %s.", app.Name)
	default:
		err = writeEvents(c.Out, events, c.view())
	}
	if err != nil {
		return err
	}
	if hidden > 0 {
		c.say("%s of clusters left out; --all shows them.", count(hidden, "routine event"))
	}
	return c.silent(events.Silent)
}

// notable leaves out what clusters do all day.
func notable(all *fleet.ApplicationEvents) (kept *fleet.ApplicationEvents, hidden int) {
	kept = &fleet.ApplicationEvents{Silent: all.Silent}
	for _, e := range all.Events {
		if e.Cluster != "" && e.Type == "Normal" {
			hidden++
			continue
		}
		kept.Events = append(kept.Events, e)
	}
	return kept, hidden
}

// eventsOf keeps one cluster's.
func eventsOf(all *fleet.ApplicationEvents, cluster string) *fleet.ApplicationEvents {
	kept := &fleet.ApplicationEvents{}
	for _, e := range all.Events {
		if e.Cluster == cluster {
			kept.Events = append(kept.Events, e)
		}
	}
	for _, s := range all.Silent {
		if s.Cluster == cluster {
			kept.Silent = append(kept.Silent, s)
		}
	}
	return kept
}

func writeEvents(w io.Writer, events *fleet.ApplicationEvents, v view) error {
	g := grid{head: []string{"AGE", "CLUSTER", "TYPE", "REASON", "OBJECT", "MESSAGE"}}
	for _, e := range events.Events {
		message := e.Message
		if e.Count > 1 {
			message += fmt.Sprintf(" (%d times)", e.Count)
		}
		g.add(text(age(v.now, e.At)), text(fallback(e.Cluster, "hub")), state(e.Type), text(e.Reason), text(e.Object), text(message))
	}
	return g.write(w, v.ink)
}
