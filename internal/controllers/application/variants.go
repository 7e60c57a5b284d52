package application

import (
	"context"
	"errors"
	"slices"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/assign"
	"atoll.dev/atoll/internal/depot"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/override"
	"atoll.dev/atoll/internal/render/class"
	"atoll.dev/atoll/internal/rollout"
)

// deliver puts a content into the state, with what overrides make of it for
// each cluster; a *depot.Refused is for the author of the overrides to mend.
func (r *Intent) deliver(ctx context.Context, app *v1alpha1.Application, s *assign.State, c depot.Content) error {
	s.Content, s.Contents, s.Variants = c.Digest, nil, nil
	if !c.Varies() {
		return nil
	}
	s.Contents = map[string]desired.Digest{} // nobody is told of what cannot be told apart
	on := s.App.Status.Clusters
	if s.Rule != nil {
		on = slices.Concat(on, s.Rule.Choose(s.Project, s.Clusters, on))
	}
	contents, variants, err := r.variants(ctx, app, c, named(s.Clusters, on))
	if err != nil {
		return err
	}
	s.Contents, s.Variants = contents, variants
	return nil
}

// deliverTo is what single clusters get of a content.
func (r *Intent) deliverTo(ctx context.Context, app *v1alpha1.Application, s *assign.State, c depot.Content, cluster string) (assign.Delivery, error) {
	d := assign.Delivery{Revision: c.Digest, Content: c.Digest}
	if !c.Varies() {
		return d, nil
	}
	contents, _, err := r.variants(ctx, app, c, named(s.Clusters, []string{cluster}))
	d.Content = contents[cluster]
	return d, err
}

func (r *Intent) variants(ctx context.Context, app *v1alpha1.Application, c depot.Content, clusters []v1alpha1.Cluster) (map[string]desired.Digest, []v1alpha1.Variant, error) {
	var own error // the hub's, which says nothing of the overrides
	contents, variants, err := assign.Variants(c.Overrides, clusters, renderedFor(app, c), func(under desired.Digest, of []int32) (desired.Digest, error) {
		digest, err := r.Depot.Overlaid(ctx, app.Namespace, c, under, of, recordedVariant(app, c, under, of))
		var refused *depot.Refused
		if err != nil && !errors.As(err, &refused) {
			own = err
		}
		return digest, err
	})
	if err != nil && own == nil {
		err = &depot.Refused{Why: depot.OverrideRefused, Err: err}
	}
	return contents, variants, err
}

// renderedFor tells what overrides lie over on a cluster: what was rendered for
// its class, and nothing where that is yet to be.
func renderedFor(app *v1alpha1.Application, c depot.Content) func(cluster *v1alpha1.Cluster, of []int32) desired.Digest {
	return func(cluster *v1alpha1.Cluster, of []int32) desired.Digest {
		if len(c.Rendered) == 0 {
			return c.Base()
		}
		var others []string
		if h := app.Spec.Source.Helm; h != nil {
			others = h.APIVersions
		}
		answers, known := class.Of(cluster, others)
		if !known {
			return ""
		}
		valued := override.Valued(c.Overrides, of)
		for _, v := range c.Rendered {
			if slices.Equal(v.Overrides, valued) && class.Answers(v.Asked, answers) {
				return desired.Digest(v.Content)
			}
		}
		return ""
	}
}

// recordedVariant is the content that the status names for overrides of the
// revision it speaks of; empty when it names none.
func recordedVariant(app *v1alpha1.Application, c depot.Content, under desired.Digest, of []int32) desired.Digest {
	if app.Status.Revision != desired.RevisionName(app.Name, c.Digest) {
		return ""
	}
	for _, v := range app.Status.Variants {
		if desired.Digest(v.Under) == under && slices.Equal(v.Overrides, of) {
			return desired.Digest(v.Content)
		}
	}
	return ""
}

// named are the clusters of these names.
func named(clusters []v1alpha1.Cluster, names []string) []v1alpha1.Cluster {
	wanted := map[string]bool{}
	for _, name := range names {
		wanted[name] = true
	}
	var some []v1alpha1.Cluster
	for i := range clusters {
		if wanted[clusters[i].Name] {
			some = append(some, clusters[i])
		}
	}
	return some
}

// spread gives a version the contents of the clusters that it is for.
func spread(v v1alpha1.Version, contents map[string]desired.Digest, on map[string]bool) v1alpha1.Version {
	some := map[string]desired.Digest{}
	for name, content := range contents {
		if on[name] {
			some[name] = content
		}
	}
	return rollout.Spread(v, some)
}
