package manifests

import (
	"encoding/json"
	"fmt"
	"slices"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/content"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/render"
	"atoll.dev/atoll/internal/render/class"
	"atoll.dev/atoll/internal/source"
	"atoll.dev/atoll/internal/valuesfrom"
)

// maxVariants is to how many things one source may be rendered; each is rendered
// anew for every commit, and recorded on the Application.
const maxVariants = 32

// maxAsked bounds what is recorded of one class.
const maxAsked = 256

// Variant is what the clusters of one class get: those that match the same
// overrides with values, and answer alike what the templates asked.
type Variant struct {
	Files     []content.File
	Overrides []int32
	Asked     []v1alpha1.Answer
}

// Record is the variant in an object.
func (v Variant) Record(digest desired.Digest) v1alpha1.RenderVariant {
	return v1alpha1.RenderVariant{Content: string(digest), Overrides: v.Overrides, Asked: v.Asked}
}

// variant is what a render came out as for its class.
func variant(of []int32, out render.Output) Variant {
	return Variant{Files: out.Files, Overrides: of, Asked: class.Recorded(out.Queries)}
}

// several are the classes where they differ; none where all get the same. With
// values in overrides they are told apart even so: a cluster that comes to match
// others waits for its own render, and never gets what those here were meant to.
func several(all []Variant, valued bool) ([]Variant, error) {
	alike := !slices.ContainsFunc(all, func(v Variant) bool { return sum(v.Files) != sum(all[0].Files) })
	if alike && valued {
		all = byValues(all)
	}
	switch {
	case alike && !valued:
		return nil, nil
	case len(all) > maxVariants:
		return nil, source.Fail(ClassesDiffer, "it comes out differently for %d classes of clusters, more than %d: make it several applications", len(all), maxVariants)
	case slices.ContainsFunc(all, func(v Variant) bool { return len(v.Asked) > maxAsked }):
		return nil, source.Fail(ClassesDiffer, "it comes out differently by cluster, and its templates ask more than %d things of Kubernetes: set values so that they do not", maxAsked)
	}
	return all, nil
}

// byValues leaves one variant for the same values, where what the templates asked
// does not matter.
func byValues(all []Variant) []Variant {
	var some []Variant
	for _, v := range all {
		if !slices.ContainsFunc(some, func(s Variant) bool { return slices.Equal(s.Overrides, v.Overrides) }) {
			some = append(some, Variant{Files: v.Files, Overrides: v.Overrides})
		}
	}
	return some
}

// valuesFor are the values of a chart for clusters that match these overrides,
// which lie over those for all.
func valuesFor(base [][]byte, overrides []v1alpha1.Override, of []int32) ([]byte, error) {
	all := slices.DeleteFunc(slices.Concat(base, raws(overrides, of)), func(raw []byte) bool { return len(raw) == 0 })
	switch len(all) {
	case 0:
		return nil, nil
	case 1:
		return all[0], nil
	}
	values := map[string]any{}
	for _, raw := range all {
		var over map[string]any
		if err := json.Unmarshal(raw, &over); err != nil {
			return nil, source.Refuse(RenderRefused, "values of the application, or of its overrides, are no map: %w", err)
		}
		valuesfrom.Lay(values, over)
	}
	text, err := json.Marshal(values)
	if err != nil {
		return nil, fmt.Errorf("encode values: %w", err)
	}
	return text, nil
}

func raws(overrides []v1alpha1.Override, of []int32) [][]byte {
	var all [][]byte
	for _, i := range of {
		all = append(all, overrides[i].Values.Raw)
	}
	return all
}

func hasValues(overrides []v1alpha1.Override) bool {
	return slices.ContainsFunc(overrides, func(o v1alpha1.Override) bool { return o.Values != nil })
}
