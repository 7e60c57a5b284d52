package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/duration"

	"atoll.dev/atoll/api/v1alpha1"
	follow "atoll.dev/atoll/internal/source"
)

// history is what `atoll history -o json` prints.
type history struct {
	Application string                `json:"application"`
	Project     string                `json:"project"`
	Delivered   string                `json:"delivered,omitempty"`
	Pins        []v1alpha1.Pin        `json:"pins,omitempty"`
	Revisions   []v1alpha1.Revision   `json:"revisions"`
	Rollouts    []v1alpha1.RolloutRun `json:"rollouts,omitempty"`
	// Clusters is which revision each cluster last reported.
	Clusters []clusterRevision `json:"clusters,omitempty"`
}

type clusterRevision struct {
	Cluster  string `json:"cluster"`
	Revision string `json:"revision,omitempty"`
	Sync     string `json:"sync,omitempty"`
	// Since is when the sync took its value, by the member's clock.
	Since *time.Time `json:"since,omitempty"`
}

func newHistory(c *console) *cobra.Command {
	a := aboutApp{}
	cmd := &cobra.Command{
		Use:   "history app/NAME",
		Short: "Its revisions, rollouts and pins, and which revision each cluster has",
		Example: `  atoll history app/shop
  atoll history app/shop -o json`,
		Args:              takes(1, "an application: app/NAME"),
		ValidArgsFunction: c.completeRefs(applicationKind),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.history(cmd.Context(), args[0], a)
		},
	}
	addOutput(cmd, &a.output)
	return cmd
}

func (c *console) history(ctx context.Context, arg string, a aboutApp) error {
	h, app, err := c.open(ctx, arg, a)
	if err != nil {
		return err
	}
	past := history{Application: app.Name, Project: app.Namespace, Delivered: app.Status.Revision, Pins: app.Spec.Pins}
	if past.Revisions, err = h.revisions(ctx, app); err != nil {
		return err
	}
	if past.Rollouts, err = h.rollouts(ctx, app); err != nil {
		return err
	}
	answer, err := h.fleet.ApplicationClusters(ctx, app.Namespace, app.Name)
	if err != nil {
		return err
	}
	for _, s := range answer.Clusters {
		one := clusterRevision{Cluster: s.Cluster, Revision: s.State.Revision, Sync: string(s.State.Sync)}
		if s.State.Since > 0 {
			since := time.UnixMilli(s.State.Since)
			one.Since = &since
		}
		past.Clusters = append(past.Clusters, one)
	}
	if a.output != "text" {
		return encode(c.Out, a.output, past)
	}
	return past.page(time.Now()).write(c.Out, c.view())
}

func (past history) page(now time.Time) *page {
	p := &page{}
	p.field("Application", past.Application)
	p.field("Project", past.Project)
	p.table("Pins", past.pins(now))
	p.table("Revisions", past.revisions(now))
	p.table("Rollouts", past.rollouts(now))
	p.table("Clusters", past.clusters(now))
	return p
}

func (past history) pins(now time.Time) grid {
	g := grid{head: []string{"REVISION", "CLUSTERS", "BY", "AGE", "EXPIRES", "REASON"}}
	for _, pin := range past.Pins {
		where, since, until := "all", "", "never"
		if len(pin.Clusters) > 0 {
			where = strings.Join(pin.Clusters, ", ")
		}
		if pin.Since != nil {
			since = age(now, pin.Since.Time)
		}
		if pin.Expires != nil {
			until = pin.Expires.UTC().Format(time.RFC3339)
		}
		g.add(text(pin.Revision), text(where), text(pin.By), text(since), text(until), text(pin.Reason))
	}
	return g
}

func (past history) revisions(now time.Time) grid {
	g := grid{head: []string{"REVISION", "", "AGE", "OBJECTS", "BY", "FROM"}}
	for _, r := range past.Revisions {
		mark := ""
		if r.Name == past.Delivered {
			mark = "delivered"
		}
		from := r.Spec.Origin
		if commit := r.Spec.Commit; commit != nil {
			from = revisionWords(commit)
		}
		g.add(text(r.Name), text(mark), text(age(now, r.CreationTimestamp.Time)), text(fmt.Sprint(r.Spec.Objects)), text(follow.By(&r.Spec)), text(from))
	}
	return g
}

func (past history) rollouts(now time.Time) grid {
	g := grid{head: []string{"ROLLOUT", "PHASE", "AGE", "TOOK", "BRINGS", "WHY"}}
	for _, run := range past.Rollouts {
		took := ""
		if run.Status.FinishedAt != nil {
			took = duration.HumanDuration(run.Status.FinishedAt.Sub(run.CreationTimestamp.Time))
		}
		g.add(text(run.Name), state(string(run.Status.Phase)), text(age(now, run.CreationTimestamp.Time)), text(took), text(run.Spec.Plan.Cause), text(run.Status.Message))
	}
	return g
}

func (past history) clusters(now time.Time) grid {
	g := grid{head: []string{"CLUSTER", "REVISION", "SYNC", "SINCE"}}
	for _, cl := range past.Clusters {
		since := ""
		if cl.Since != nil {
			since = age(now, *cl.Since)
		}
		g.add(text(cl.Cluster), text(cl.Revision), state(cl.Sync), text(since))
	}
	return g
}
