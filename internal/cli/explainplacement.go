package cli

import (
	"context"
	"io"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/placement"
)

// explainPlacement decides again, by the hub's own function, for every cluster
// that the caller may see.
func (c *console) explainPlacement(ctx context.Context, arg string, a aboutApp) error {
	h, app, err := c.open(ctx, arg, a)
	if err != nil {
		return err
	}
	decision, err := h.decide(ctx, app)
	if err != nil {
		return err
	}
	verdicts := decision.Verdicts()
	if a.cluster != "" {
		verdicts = slices.DeleteFunc(verdicts, func(v placement.Verdict) bool { return v.Cluster != a.cluster })
	}
	if a.output != "text" {
		return encode(c.Out, a.output, verdicts)
	}
	c.say("%s", decision.Message)
	return writeVerdicts(c.Out, verdicts, c.view())
}

func (h *hub) decide(ctx context.Context, app *v1alpha1.Application) (placement.Decision, error) {
	if app.Spec.Placement == nil {
		return placement.Decision{}, wrong("%s has no placement; choose clusters with: atoll deploy %s -p %s -f PATH --to SELECTOR", app.Name, app.Name, app.Namespace)
	}
	rule := app.Spec.Placement.PlacementRule
	if ref := app.Spec.Placement.Ref; ref != "" {
		named, err := fetch[v1alpha1.Placement](ctx, h, placementKind, "", ref)
		if err != nil {
			return placement.Decision{}, err
		}
		rule = named.Spec
	}
	project, err := fetch[v1alpha1.Project](ctx, h, projectKind, "", app.Namespace)
	if err != nil {
		return placement.Decision{}, err
	}
	clusters, err := fetchAll[v1alpha1.Cluster](ctx, h, clusterKind, "", metav1.ListOptions{})
	if err != nil {
		return placement.Decision{}, err
	}
	return placement.Decide(placement.Input{Rule: rule, Project: project, Clusters: clusters, Previous: app.Status.Clusters})
}

func writeVerdicts(w io.Writer, verdicts []placement.Verdict, v view) error {
	g := grid{head: []string{"CLUSTER", "CHOSEN", "REASON", "WHY"}, width: v.width}
	for _, one := range verdicts {
		chosen := cell{"no", yellow}
		if one.Chosen {
			chosen = cell{"yes", green}
		}
		why := one.Message
		if len(one.Also) > 0 {
			var also []string
			for _, r := range one.Also {
				also = append(also, string(r.Reason))
			}
			why += " (also: " + strings.Join(also, ", ") + ")"
		}
		g.add(text(one.Cluster), chosen, text(string(one.Reason)), text(why))
	}
	return g.write(w, v.ink)
}
