package cli

import (
	"fmt"
	"strings"

	"atoll.dev/atoll/api/v1alpha1"
)

// contents is "1a2b3c4d5e6f on 4 clusters; 6f5e4d3c2b1a on 2 clusters by
// override 0".
func contents(variants []v1alpha1.Variant) string {
	const most = 5
	var words []string
	for _, v := range variants[:min(len(variants), most)] {
		text := short(v.Content) + " on " + count(v.Clusters, "cluster")
		if len(v.Overrides) > 0 {
			text += " by override " + strings.ReplaceAll(strings.Trim(fmt.Sprint(v.Overrides), "[]"), " ", ", ")
		}
		words = append(words, text)
	}
	if more := len(variants) - most; more > 0 {
		words = append(words, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(words, "; ")
}

// different is how many contents there are among variants.
func different(variants []v1alpha1.RenderVariant) int {
	contents := map[string]bool{}
	for _, v := range variants {
		contents[v.Content] = true
	}
	return len(contents)
}
