package assign

import (
	"cmp"
	"fmt"
	"slices"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/override"
)

// Delivery is what a cluster gets: a content, and the digest of the Revision by
// which it does. Without a content it keeps what it has.
type Delivery struct {
	Revision, Content desired.Digest
}

// Variants are the contents of a revision with overrides, on clusters: those
// that match the same overrides get the same. under is what they lie over on a
// cluster, empty where that is not known yet; overlaid is the content that comes
// of it with the overrides in these places, and is asked once for each; an error
// of it is the whole's.
func Variants(overrides []v1alpha1.Override, clusters []v1alpha1.Cluster, under func(c *v1alpha1.Cluster, of []int32) desired.Digest,
	overlaid func(under desired.Digest, of []int32) (desired.Digest, error)) (map[string]desired.Digest, []v1alpha1.Variant, error) {
	selectors, err := override.Select(overrides)
	if err != nil {
		return nil, nil, err
	}
	contents, places := map[string]desired.Digest{}, map[string]int{}
	var variants []v1alpha1.Variant
	for i := range clusters {
		of := selectors.Of(clusters[i].Labels)
		base := under(&clusters[i], of)
		if base == "" {
			continue
		}
		class := fmt.Sprint(base, of)
		at, known := places[class]
		if !known {
			digest, err := overlaid(base, of)
			if err != nil {
				return nil, nil, fmt.Errorf("on cluster %s: %w", clusters[i].Name, err)
			}
			at = len(variants)
			places[class] = at
			variants = append(variants, v1alpha1.Variant{Content: string(digest), Under: string(base), Overrides: of})
		}
		variants[at].Clusters++
		contents[clusters[i].Name] = desired.Digest(variants[at].Content)
	}
	slices.SortFunc(variants, func(a, b v1alpha1.Variant) int {
		return cmp.Or(slices.Compare(a.Overrides, b.Overrides), cmp.Compare(a.Under, b.Under))
	})
	if len(variants) > override.MaxVariants {
		return nil, nil, fmt.Errorf("spec.overrides: the clusters match them in %d ways, more than %d: make it several applications", len(variants), override.MaxVariants)
	}
	return contents, variants, nil
}

// delivery is what a cluster gets of the State's own content.
func (s State) delivery(cluster string) Delivery {
	if s.Contents == nil {
		return Delivery{Revision: s.Content, Content: s.Content}
	}
	return Delivery{Revision: s.Content, Content: s.Contents[cluster]}
}
