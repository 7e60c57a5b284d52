package manifests

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/override"
	"atoll.dev/atoll/internal/placement"
	"atoll.dev/atoll/internal/render/class"
	"atoll.dev/atoll/internal/source"
)

// group is clusters of which the hub knows the same, and that match the same
// overrides with values.
type group struct {
	// first is the first of their names, for people.
	first string
	// valued are the places of these overrides.
	valued []int32
	of     class.Capabilities
	key    string
}

// group divides clusters by all that templates can ask. One whose agent has not
// told what it serves yet is left out: it is looked at again when it has. With
// no cluster there is one group, of the default.
func (r *Renderer) group(app *v1alpha1.Application, clusters []v1alpha1.Cluster) ([]group, error) {
	selectors, err := override.Select(app.Spec.Overrides)
	if err != nil {
		return nil, source.Refuse(RenderRefused, "%w", err)
	}
	var extra []string
	if h := app.Spec.Source.Helm; h != nil {
		extra = h.APIVersions
	}
	byKey := map[string]bool{}
	var groups []group
	slices.SortFunc(clusters, func(a, b v1alpha1.Cluster) int { return cmp.Compare(a.Name, b.Name) })
	for i := range clusters {
		of, known := class.Of(&clusters[i], extra)
		if !known {
			continue
		}
		g := group{first: "cluster " + clusters[i].Name, valued: override.Valued(app.Spec.Overrides, selectors.Of(clusters[i].Labels)), of: of}
		g.key = of.KubeVersion + " " + strings.Join(class.Served(clusters[i].Status.Facts.APIGroups, extra), " ")
		if len(g.valued) > 0 {
			g.key += fmt.Sprint(" ", g.valued)
		}
		if !byKey[g.key] {
			byKey[g.key] = true
			groups = append(groups, g)
		}
	}
	if len(groups) == 0 {
		served := class.Served(nil, extra)
		groups = []group{{first: "no cluster", of: class.BuiltIn(r.Kubernetes, served), key: r.Kubernetes + " " + strings.Join(served, " ")}}
	}
	return groups, nil
}

// fleet names what is known of all groups.
func fleet(groups []group) string {
	keys := make([]string, 0, len(groups))
	for _, g := range groups {
		keys = append(keys, g.key)
	}
	slices.Sort(keys)
	sum := sha256.Sum256([]byte(strings.Join(keys, "\n")))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// clusters are those that have the application or that its placement chooses.
func (r *Renderer) clusters(ctx context.Context, app *v1alpha1.Application) (namespace string, on []v1alpha1.Cluster, err error) {
	project, namespace, err := r.project(ctx, app)
	if err != nil {
		return "", nil, err
	}
	rule, err := r.rule(ctx, app)
	if err != nil {
		return namespace, nil, err
	}
	var all v1alpha1.ClusterList
	if err := r.Client.List(ctx, &all); err != nil {
		return namespace, nil, fmt.Errorf("list clusters: %w", err)
	}
	names := app.Status.Clusters
	// What is wrong with a rule is told where it is placed.
	if d, err := placement.Decide(placement.Input{Rule: rule, Project: project, Clusters: all.Items, Previous: names}); err == nil {
		names = slices.Concat(names, d.Chosen)
	}
	for i := range all.Items {
		if slices.Contains(names, all.Items[i].Name) {
			on = append(on, all.Items[i])
		}
	}
	return namespace, on, nil
}

// rule is the effective placement, by which nothing is chosen where there is
// none; what is wrong with one is told where it is placed.
func (r *Renderer) rule(ctx context.Context, app *v1alpha1.Application) (v1alpha1.PlacementRule, error) {
	p := app.Spec.Placement
	if p == nil {
		return v1alpha1.PlacementRule{}, nil
	}
	var named *v1alpha1.PlacementRule
	if p.Ref != "" {
		found := &v1alpha1.Placement{}
		switch err := r.Client.Get(ctx, types.NamespacedName{Name: p.Ref}, found); {
		case err == nil:
			named = &found.Spec
		case !apierrors.IsNotFound(err):
			return v1alpha1.PlacementRule{}, fmt.Errorf("read placement %s: %w", p.Ref, err)
		}
	}
	rule, invalid := placement.Effective(*p, named)
	if invalid != nil {
		return v1alpha1.PlacementRule{}, nil
	}
	return rule, nil
}
