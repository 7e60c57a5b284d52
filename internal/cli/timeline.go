package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/fleet"
	follow "atoll.dev/atoll/internal/source"
)

// moment is one line of a timeline.
type moment struct {
	At time.Time `json:"at"`
	// Cluster is where; empty for what is of the whole application.
	Cluster string `json:"cluster,omitempty"`
	What    string `json:"what"`
	By      string `json:"by,omitempty"`
	Message string `json:"message,omitempty"`
}

func newTimeline(c *console) *cobra.Command {
	a, since := aboutApp{}, time.Duration(0)
	cmd := &cobra.Command{
		Use:   "timeline app/NAME",
		Short: "What happened to an application in the order of time, and who did it",
		Long: `Show what happened to an application in the order of time, newest last: revisions
with their authors, rollouts with how they ended, pins, freezes, what the hub said, what
others changed on clusters, their warnings, and since when each cluster is as it is.

Events are kept for an hour, revisions and rollouts for long. Clusters that do not answer are
named on stderr, and the exit code is then 3.`,
		Example: `  atoll timeline app/shop
  atoll timeline app/shop --since 1h -C us-east-1
  atoll timeline app/shop -o json`,
		Args:              takes(1, "an application: app/NAME"),
		ValidArgsFunction: c.completeRefs(applicationKind),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.timeline(cmd.Context(), args[0], a, since)
		},
	}
	a.addFlags(c, cmd)
	cmd.Flags().DurationVar(&since, "since", 24*time.Hour, "how far back")
	return cmd
}

func (c *console) timeline(ctx context.Context, arg string, a aboutApp, since time.Duration) error {
	if since <= 0 {
		return wrong("--since is a time that has passed, such as 24h")
	}
	h, app, err := c.open(ctx, arg, a)
	if err != nil {
		return err
	}
	f, err := h.pastOf(ctx, app)
	if err != nil {
		return err
	}
	moments := f.moments(c.now().Add(-since), a.cluster)
	switch {
	case a.output != "text":
		err = encode(c.Out, a.output, moments)
	case len(moments) == 0:
		c.say("Nothing happened to %s in %s.", app.Name, since)
	default:
		err = writeTimeline(c.Out, moments, c.view())
	}
	if err != nil {
		return err
	}
	return c.silent(f.events.Silent)
}

// past is everything that a timeline is made from.
type past struct {
	app       *v1alpha1.Application
	project   *v1alpha1.Project
	revisions []v1alpha1.Revision
	runs      []v1alpha1.RolloutRun
	events    *fleet.ApplicationEvents
	clusters  []fleet.ClusterState
}

func (h *hub) pastOf(ctx context.Context, app *v1alpha1.Application) (*past, error) {
	f := &past{app: app}
	// Who may not read the project sees the rest.
	f.project, _ = fetch[v1alpha1.Project](ctx, h, projectKind, "", app.Namespace)
	var err error
	if f.revisions, err = h.revisions(ctx, app); err != nil {
		return nil, err
	}
	if f.runs, err = h.rollouts(ctx, app); err != nil {
		return nil, err
	}
	if f.events, err = h.fleet.Events(ctx, app.Namespace, app.Name); err != nil {
		return nil, err
	}
	answer, err := h.fleet.ApplicationClusters(ctx, app.Namespace, app.Name)
	if err != nil {
		return nil, err
	}
	f.clusters = answer.Clusters
	return f, nil
}

// moments are those since a time, of one cluster or of all; what is of the whole
// application is of each.
func (f *past) moments(since time.Time, cluster string) []moment {
	all := slices.Concat(f.decided(), f.travelled(), f.observed())
	all = slices.DeleteFunc(all, func(m moment) bool {
		return m.At.Before(since) || cluster != "" && m.Cluster != "" && m.Cluster != cluster
	})
	slices.SortStableFunc(all, func(a, b moment) int { return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Cluster, b.Cluster)) })
	return all
}

// decided is what people said.
func (f *past) decided() []moment {
	var all []moment
	add := func(at *metav1.Time, by, what, message string) {
		if at != nil {
			all = append(all, moment{At: at.Time, What: what, By: by, Message: message})
		}
	}
	for _, r := range f.revisions {
		by, message := follow.By(&r.Spec), fmt.Sprintf("%s, %s", r.Name, count(r.Spec.Objects, "object"))
		if r.Spec.Origin != "" && r.Spec.Origin != by {
			message += " from " + r.Spec.Origin
		}
		if c := r.Spec.Commit; c != nil {
			message = strings.TrimSuffix(message+": "+c.Message, ": ")
		}
		add(&r.CreationTimestamp, by, "Revision", message)
	}
	for _, p := range f.app.Spec.Pins {
		where := "everywhere"
		if len(p.Clusters) > 0 {
			where = "on " + list(p.Clusters, 5)
		}
		add(p.Since, p.By, "Pin", fmt.Sprintf("%s %s: %s", p.Revision, where, p.Reason))
	}
	if z := f.app.Spec.Freeze; z != nil {
		add(z.Since, z.By, "Freeze", "the application: "+z.Reason)
	}
	if f.project != nil && f.project.Spec.Freeze != nil {
		z := f.project.Spec.Freeze
		add(z.Since, z.By, "Freeze", "the project: "+z.Reason)
	}
	return all
}

// travelled is what rollouts did.
func (f *past) travelled() []moment {
	var all []moment
	for i := range f.runs {
		run := &f.runs[i]
		plan := &run.Spec.Plan
		clusters := 0
		for _, wave := range plan.Waves {
			clusters += len(wave.Clusters)
		}
		all = append(all, moment{At: run.CreationTimestamp.Time, What: "Rollout",
			Message: fmt.Sprintf("%s begins: %s, to %s in %s", run.Name, plan.Cause, count(clusters, "cluster"), count(len(plan.Waves), "wave"))})
		if end := run.Status.FinishedAt; end != nil {
			all = append(all, moment{At: end.Time, What: string(run.Status.Phase), Message: run.Name + ": " + run.Status.Message})
		}
	}
	return all
}

// recorded are the hub's events that revisions and rollouts tell better.
var recorded = []string{"RevisionAdmitted", "RolloutComplete", "RolloutRolledBack", "RolloutSuperseded"}

// observed is what the hub and the clusters said.
func (f *past) observed() []moment {
	var all []moment
	events, _ := notable(f.events)
	for _, e := range events.Events {
		if e.Cluster == "" && slices.Contains(recorded, e.Reason) {
			continue
		}
		message := e.Message
		if e.Cluster != "" {
			message = e.Object + ": " + message
		}
		if e.Count > 1 {
			message += fmt.Sprintf(" (%d times)", e.Count)
		}
		all = append(all, moment{At: e.At, Cluster: e.Cluster, What: e.Reason, Message: message})
	}
	for _, s := range f.clusters {
		if s.State.Since == 0 {
			continue
		}
		message := fmt.Sprintf("%s and %s since then", s.State.Sync, s.State.Health)
		if s.State.Revision != "" {
			message += ", with " + s.State.Revision
		}
		all = append(all, moment{At: time.UnixMilli(s.State.Since), Cluster: s.Cluster, What: string(s.State.Health), Message: message})
	}
	return all
}

func writeTimeline(w io.Writer, moments []moment, v view) error {
	g := grid{head: []string{"TIME", "AGE", "CLUSTER", "WHAT", "BY", "MESSAGE"}}
	for _, m := range moments {
		g.add(text(m.At.UTC().Format("01-02 15:04:05")), text(age(v.now, m.At)), text(fallback(m.Cluster, "all")), state(m.What), text(m.By), text(m.Message))
	}
	return g.write(w, v.ink)
}
