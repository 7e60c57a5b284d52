package rollout

import (
	"cmp"
	"maps"
	"slices"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/desired"
)

// Spread is a version that brings each cluster the content given, by digest;
// with no contents it brings all clusters its own.
func Spread(v v1alpha1.Version, contents map[string]desired.Digest) v1alpha1.Version {
	v.Variants = nil
	places := map[string]int{}
	for _, name := range slices.Sorted(maps.Keys(contents)) {
		content := string(contents[name])
		at, known := places[content]
		if !known {
			at, places[content] = len(v.Variants), len(v.Variants)
			v.Variants = append(v.Variants, v1alpha1.VersionVariant{Content: content})
		}
		v.Variants[at].Clusters = append(v.Variants[at].Clusters, name)
	}
	return v
}

// On is a version as one cluster runs it; nil on a cluster to which one with
// several contents brings none.
func On(v *v1alpha1.Version, cluster string) *v1alpha1.Version {
	if v == nil || len(v.Variants) == 0 {
		return v
	}
	for i := range v.Variants {
		if _, in := slices.BinarySearch(v.Variants[i].Clusters, cluster); in {
			on := *v
			on.Content, on.Variants = v.Variants[i].Content, nil
			return &on
		}
	}
	return nil
}

// ContentOf is the digest of the content of a version that one cluster runs.
func ContentOf(v v1alpha1.Version) string { return cmp.Or(v.Content, v.Digest) }

// Contents are the digests of all contents that a version brings.
func Contents(v v1alpha1.Version) []string {
	if len(v.Variants) == 0 {
		return []string{ContentOf(v)}
	}
	var all []string
	for _, variant := range v.Variants {
		all = append(all, variant.Content)
	}
	return all
}

// moved are the clusters to which a version that came through would bring
// another content now, or for the first time: their labels have changed, or
// they were chosen since. Before it came through they keep what was decided.
func moved(r Request) []Candidate {
	if r.Last == nil || r.Last.Status.Phase != v1alpha1.RolloutComplete || len(r.Target.Variants) == 0 || !Same(r.Last.Spec.Plan.Target, r.Target) {
		return nil
	}
	var some []Candidate
	for _, c := range r.Clusters {
		was, is := On(&r.Last.Spec.Plan.Target, c.Name), On(&r.Target, c.Name)
		if is != nil && (was == nil || !Same(*was, *is)) {
			some = append(some, c)
		}
	}
	return some
}

func movedWhy(clusters []Candidate) string {
	return ": what overrides make of it for " + listed(slices.Sorted(slices.Values(names(clusters))))
}
