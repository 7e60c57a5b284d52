// Package override lays an application's overrides over its content, and
// decides which of them count for a cluster.
//
// It is pure: the same content and overrides always make the same bytes, in
// whatever process, so that what a cluster runs has a name before anybody made
// it. It leaves to others what the content is (internal/content), storing what
// comes of it (internal/depot) and which clusters there are (internal/assign).
package override

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/labels"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/content"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/placement"
)

// MaxVariants is how many contents one revision may come to: each is checked,
// stored and listed.
const MaxVariants = 256

// Whole names a content together with what else its source was rendered to and
// the overrides that lie over it; without any it is the content's own digest.
func Whole(base desired.Digest, rendered []v1alpha1.RenderVariant, overrides []v1alpha1.Override) desired.Digest {
	if len(rendered)+len(overrides) == 0 || base == "" {
		return base
	}
	text, err := json.Marshal(struct {
		Rendered  []v1alpha1.RenderVariant `json:"rendered,omitempty"`
		Overrides []v1alpha1.Override      `json:"overrides,omitempty"`
	}{rendered, overrides})
	if err != nil {
		panic(fmt.Sprintf("encode overrides: %v", err)) // strings and numbers
	}
	return desired.Sum([]byte("atoll-overrides/1\n" + string(base) + "\n" + string(text)))
}

// Selectors are those of overrides.
type Selectors []labels.Selector

// Select reads the selectors; the error names the field.
func Select(overrides []v1alpha1.Override) (Selectors, error) {
	all := make(Selectors, len(overrides))
	for i, o := range overrides {
		selector, err := placement.ParseSelector(o.Clusters)
		if err != nil {
			return nil, fmt.Errorf("spec.overrides[%d].clusters: %w", i, err)
		}
		all[i] = selector
	}
	return all, nil
}

// Of are the places of those that match a cluster with these labels, in order.
func (s Selectors) Of(cluster map[string]string) []int32 {
	var of []int32
	for i, selector := range s {
		if selector.Matches(labels.Set(cluster)) {
			of = append(of, int32(i))
		}
	}
	return of
}

// Valued are those of the overrides in these places that have values: by these a
// chart is rendered, and what comes of it is laid over by the rest.
func Valued(overrides []v1alpha1.Override, of []int32) []int32 {
	var some []int32
	for _, i := range of {
		if overrides[i].Values != nil {
			some = append(some, i)
		}
	}
	return some
}

// Apply lays the overrides in these places over a content. The content given is
// not altered. The error names the field and the object.
func Apply(b content.Bundle, overrides []v1alpha1.Override, of []int32) (content.Bundle, error) {
	over := content.Bundle{Objects: append([]content.Object(nil), b.Objects...)}
	for _, i := range of {
		if err := layer(over.Objects, overrides[i]); err != nil {
			return content.Bundle{}, fmt.Errorf("spec.overrides[%d].%w", i, err)
		}
	}
	return over, nil
}

// layer lays one override over objects: patches, then images, then replicas.
func layer(objects []content.Object, o v1alpha1.Override) error {
	for i, p := range o.Patches {
		if err := patchAll(objects, p); err != nil {
			return fmt.Errorf("patches[%d]%w", i, err)
		}
	}
	for i, image := range o.Images {
		if err := setImage(objects, image); err != nil {
			return fmt.Errorf("images[%d]%w", i, err)
		}
	}
	for i, r := range o.Replicas {
		if err := scale(objects, r); err != nil {
			return fmt.Errorf("replicas[%d]%w", i, err)
		}
	}
	return nil
}

// Why says for people which overrides make a content: "overrides 0 and 2
// (stage=production; tier=edge)".
func Why(overrides []v1alpha1.Override, of []int32) string {
	switch len(of) {
	case 0:
		return "no override"
	case 1:
		return "override " + places(of) + selectors(overrides, of)
	}
	return "overrides " + places(of) + selectors(overrides, of)
}

func places(of []int32) string {
	text := make([]string, len(of))
	for i, n := range of {
		text[i] = strconv.Itoa(int(n))
	}
	if last := len(text) - 1; last > 0 {
		return strings.Join(text[:last], ", ") + " and " + text[last]
	}
	return text[0]
}

func selectors(overrides []v1alpha1.Override, of []int32) string {
	const most = 3
	var text []string
	for _, i := range of {
		if int(i) < len(overrides) && len(text) < most {
			text = append(text, overrides[i].Clusters)
		}
	}
	if more := len(of) - len(text); more > 0 {
		text = append(text, fmt.Sprintf("and %d more", more))
	}
	return " (" + strings.Join(text, "; ") + ")"
}
