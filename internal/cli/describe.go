package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"atoll.dev/atoll/api/v1alpha1"
	"github.com/spf13/cobra"
)

func newDescribe(c *console) *cobra.Command {
	return &cobra.Command{
		Use:   "describe KIND/NAME",
		Short: "One object in full: what is asked, what is, and since when",
		Long: `Describe a cluster, project, app, revision, rollout, placement or grant in full.
Everything that was observed carries its age.`,
		Example: `  atoll describe cluster us-east-1
  atoll describe app/shop -p demo`,
		Args:              someArgs("a kind and a name: cluster NAME, app/NAME"),
		ValidArgsFunction: c.completeKinds,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.describe(cmd.Context(), args)
		},
	}
}

func (c *console) describe(ctx context.Context, args []string) error {
	k, names, err := parseTargets(args)
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return wrong("say which %s: atoll describe %s/NAME", k.singular(), k.word)
	}
	h, err := c.connect()
	if err != nil {
		return err
	}
	for i, name := range names {
		if i > 0 {
			c.print("")
		}
		page, err := c.page(ctx, h, k, name)
		if err != nil {
			return err
		}
		if err := page.write(c.Out, c.view()); err != nil {
			return err
		}
	}
	return nil
}

func (c *console) page(ctx context.Context, h *hub, k kind, name string) (*page, error) {
	project := ""
	if k.namespaced {
		if project = h.project; project == "" {
			var err error
			if project, err = h.projectOf(ctx, k, name); err != nil {
				return nil, err
			}
		}
	}
	switch k.name {
	case clusterKind.name:
		return c.clusterPage(ctx, h, name)
	case applicationKind.name:
		return c.applicationPage(ctx, h, project, name)
	case projectKind.name:
		p, err := fetch[v1alpha1.Project](ctx, h, k, "", name)
		if err != nil {
			return nil, err
		}
		return projectPage(p, c.now(), c.width), nil
	case rolloutKind.name:
		run, err := fetch[v1alpha1.RolloutRun](ctx, h, k, project, name)
		if err != nil {
			return nil, err
		}
		return runPage(run, time.Now()), nil
	case grantKind.name:
		g, err := fetch[v1alpha1.AccessGrant](ctx, h, k, project, name)
		if err != nil {
			return nil, err
		}
		return grantPage(g, c.view()), nil
	case placementKind.name:
		p, err := fetch[v1alpha1.Placement](ctx, h, k, "", name)
		if err != nil {
			return nil, err
		}
		return placementPage(p), nil
	default:
		r, err := fetch[v1alpha1.Revision](ctx, h, k, project, name)
		if err != nil {
			return nil, err
		}
		return revisionPage(r, c.view()), nil
	}
}

func (c *console) clusterPage(ctx context.Context, h *hub, name string) (*page, error) {
	cl, err := fetch[v1alpha1.Cluster](ctx, h, clusterKind, "", name)
	if err != nil {
		return nil, err
	}
	p := describeCluster(cl, c.view())
	r, err := h.fleet.Report(ctx, name)
	if err != nil {
		c.say("What runs there cannot be told: %s", sentence(err))
		return p, nil
	}
	g := grid{head: []string{"APP", "SYNC", "HEALTH", "OBJECTS", "MESSAGE"}, width: c.width}
	for _, s := range r.States {
		g.add(text(s.Key.String()), state(string(s.Sync)), state(string(s.Health)), text(fmt.Sprintf("%d/%d", s.Ready, s.Objects)), text(s.Message))
	}
	p.table("Applications, as of "+ago(c.now(), r.AsOf), g)
	return p, nil
}

func (c *console) applicationPage(ctx context.Context, h *hub, project, name string) (*page, error) {
	app, err := fetch[v1alpha1.Application](ctx, h, applicationKind, project, name)
	if err != nil {
		return nil, err
	}
	p := describeApplication(app, c.view())
	states, err := h.fleet.ApplicationClusters(ctx, project, name)
	if err != nil {
		c.say("The clusters cannot be told: %s", sentence(err))
		return p, nil
	}
	p.table("Clusters", clusterStates(states.Clusters, c.view()))
	return p, nil
}

// rule tells a placement rule in words.
func rule(r v1alpha1.PlacementRule) string {
	var parts []string
	if r.Hub {
		parts = append(parts, "the hub itself")
	}
	if len(r.Names) > 0 {
		parts = append(parts, "named "+list(r.Names, 10))
	}
	if r.Clusters != "" {
		parts = append(parts, "labels "+r.Clusters)
	}
	if r.Where != "" {
		parts = append(parts, "where "+r.Where)
	}
	if r.Count != nil {
		parts = append(parts, fmt.Sprintf("at most %d", *r.Count))
	}
	for _, t := range r.Tolerations {
		parts = append(parts, "tolerates "+strings.TrimSuffix(t.Key+"="+t.Value, "="))
	}
	if r.Residency != nil {
		parts = append(parts, residency(r.Residency))
	}
	return orNone(strings.Join(parts, "; "))
}

func residency(r *v1alpha1.Residency) string {
	if r == nil {
		return ""
	}
	var parts []string
	if len(r.Jurisdictions) > 0 {
		parts = append(parts, "only in "+list(r.Jurisdictions, 10))
	}
	if len(r.Regions) > 0 {
		parts = append(parts, "only in regions "+list(r.Regions, 10))
	}
	return strings.Join(parts, ", ")
}
