package placement

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"atoll.dev/atoll/api/v1alpha1"
)

// Narrows reports what in inner reaches beyond outer; nil means that inner
// only narrows. A list left empty sets no limit of its own.
func Narrows(outer, inner *v1alpha1.Residency) error {
	if outer == nil || inner == nil {
		return nil
	}
	return errors.Join(
		within("jurisdictions", outer.Jurisdictions, inner.Jurisdictions),
		within("regions", outer.Regions, inner.Regions),
	)
}

func within(what string, outer, inner []string) error {
	if len(outer) == 0 {
		return nil
	}
	var beyond []string
	for _, v := range inner {
		if !slices.Contains(outer, v) {
			beyond = append(beyond, v)
		}
	}
	if beyond == nil {
		return nil
	}
	return fmt.Errorf("%s %s reach beyond the allowed %s", what, strings.Join(beyond, ", "), strings.Join(outer, ", "))
}

// narrow is the residency that satisfies both; two that exclude each other are
// an error, for an empty list would mean no limit.
func narrow(a, b *v1alpha1.Residency) (*v1alpha1.Residency, error) {
	if a == nil {
		return b.DeepCopy(), nil
	}
	if b == nil {
		return a, nil
	}
	jurisdictions, errJ := intersect("jurisdictions", a.Jurisdictions, b.Jurisdictions)
	regions, errR := intersect("regions", a.Regions, b.Regions)
	if err := errors.Join(errJ, errR); err != nil {
		return nil, err
	}
	return &v1alpha1.Residency{Jurisdictions: jurisdictions, Regions: regions}, nil
}

func intersect(what string, a, b []string) ([]string, error) {
	if len(a) == 0 {
		return b, nil
	}
	if len(b) == 0 {
		return a, nil
	}
	var both []string
	for _, v := range a {
		if slices.Contains(b, v) {
			both = append(both, v)
		}
	}
	if both == nil {
		return nil, fmt.Errorf("%s %s and %s exclude each other", what, strings.Join(a, ", "), strings.Join(b, ", "))
	}
	return both, nil
}

// breach is the sentence for a cluster outside a residency, "" inside.
func breach(whose string, limit *v1alpha1.Residency, c *v1alpha1.Cluster) string {
	if limit == nil {
		return ""
	}
	if m := outside(whose, "jurisdiction", limit.Jurisdictions, c.Spec.Jurisdiction); m != "" {
		return m
	}
	return outside(whose, "region", limit.Regions, c.Spec.Region)
}

func outside(whose, what string, allowed []string, is string) string {
	if len(allowed) == 0 || (is != "" && slices.Contains(allowed, is)) {
		return ""
	}
	demand := whose + " demands " + what + " " + strings.Join(allowed, " or ")
	if is == "" {
		return demand + " and the cluster declares none"
	}
	return demand + ", the cluster is in " + is
}

// demands tells whether any residency applies.
func demands(limits ...*v1alpha1.Residency) bool {
	for _, l := range limits {
		if l != nil && len(l.Jurisdictions)+len(l.Regions) > 0 {
			return true
		}
	}
	return false
}

// providerFamily maps the names people and node provider IDs use to one.
var providerFamily = map[string]string{
	"aws": "aws", "eks": "aws", "amazon": "aws",
	"gcp": "gcp", "gke": "gcp", "gce": "gcp", "google": "gcp",
	"azure": "azure", "aks": "azure", "microsoft": "azure",
}

// factsMismatch is the sentence when the nodes contradict what people declared,
// "" when they agree or say nothing. An unknown provider contradicts nothing.
func factsMismatch(c *v1alpha1.Cluster) string {
	facts := c.Status.Facts
	if facts == nil {
		return ""
	}
	for _, region := range facts.Regions {
		if c.Spec.Region != "" && region != "" && region != c.Spec.Region {
			return "the cluster declares region " + c.Spec.Region + ", nodes report " + region
		}
	}
	declared := providerFamily[strings.ToLower(c.Spec.Provider)]
	observed := providerFamily[strings.ToLower(facts.Provider)]
	if declared != "" && observed != "" && declared != observed {
		return "the cluster declares provider " + c.Spec.Provider + ", nodes report " + facts.Provider
	}
	return ""
}
