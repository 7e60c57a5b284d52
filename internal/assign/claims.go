package assign

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/labels"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/placement"
)

// Bound is the project without what other projects claim more exactly, in
// clusters that both may use: shop owns shop-*, and where there is a project
// shop-admin, not shop-admin. Of two equal claims the older project's counts. So
// no namespace of a member ever has two owners. Both the hub and, by the entries
// it gets, the agent judge a project by what this returns.
func Bound(project *v1alpha1.Project, all []v1alpha1.Project, clusters []v1alpha1.Cluster) *v1alpha1.Project {
	mine := desired.Namespaces(project.Name, project.Spec.Namespaces)
	var exceptions []string
	for i := range all {
		other := &all[i]
		if other.Name == project.Name {
			continue
		}
		lost := claimed(mine, project, other)
		if len(lost) > 0 && meet(project, other, clusters) {
			exceptions = append(exceptions, lost...)
		}
	}
	if len(exceptions) == 0 {
		return project
	}
	slices.Sort(exceptions) // the same digest whatever the order of projects
	bound := project.DeepCopy()
	bound.Spec.Namespaces = slices.Concat(mine, exceptions)
	return bound
}

// claimed are the exceptions from mine in favour of other.
func claimed(mine []string, project, other *v1alpha1.Project) []string {
	var lost []string
	for _, claim := range desired.Namespaces(other.Name, other.Spec.Namespaces) {
		equal := slices.Contains(mine, claim)
		if equal && older(other, project) || !equal && desired.Covers(mine, claim) {
			lost = append(lost, desired.Except(claim, other.Name))
		}
	}
	return lost
}

func older(a, b *v1alpha1.Project) bool {
	return cmp.Or(age(a, b), strings.Compare(a.Name, b.Name)) < 0
}

// age puts a project that is not made yet behind all others.
func age(a, b *v1alpha1.Project) int {
	switch at, bt := a.CreationTimestamp, b.CreationTimestamp; {
	case at.IsZero() && bt.IsZero():
		return 0
	case at.IsZero():
		return 1
	case bt.IsZero():
		return -1
	default:
		return at.Compare(bt.Time)
	}
}

// Contend reports whether either claims what the other claims too.
func Contend(a, b *v1alpha1.Project) bool {
	as, bs := desired.Namespaces(a.Name, a.Spec.Namespaces), desired.Namespaces(b.Name, b.Spec.Namespaces)
	within := func(patterns []string) func(string) bool {
		return func(inner string) bool { return desired.Covers(patterns, inner) }
	}
	return slices.ContainsFunc(as, within(bs)) || slices.ContainsFunc(bs, within(as))
}

// meet reports whether there is a cluster that both projects may use.
func meet(a, b *v1alpha1.Project, clusters []v1alpha1.Cluster) bool {
	return slices.ContainsFunc(clusters, func(c v1alpha1.Cluster) bool { return mayUse(a, c) && mayUse(b, c) })
}

// mayUse believes a selector that cannot be read to reach everything: of two
// errors this one lets nobody write into another's namespace.
func mayUse(p *v1alpha1.Project, c v1alpha1.Cluster) bool {
	if strings.TrimSpace(p.Spec.Clusters) == "" {
		return true
	}
	selector, err := placement.ParseSelector(p.Spec.Clusters)
	return err != nil || selector.Matches(labels.Set(c.Labels))
}

// Taken is what a bounded project does not own of its claims, in words, or "".
func Taken(bound *v1alpha1.Project) string {
	var words []string
	for _, p := range bound.Spec.Namespaces {
		if excepted, ok := strings.CutPrefix(p, "!"); ok {
			claim, other, _ := strings.Cut(excepted, "@")
			words = append(words, fmt.Sprintf("%s (project %s)", claim, other))
		}
	}
	slices.Sort(words)
	return strings.Join(words, ", ")
}

// Overlaps says what a new or changed project takes from others, and what of
// its claims it does not get.
func Overlaps(project *v1alpha1.Project, all []v1alpha1.Project, clusters []v1alpha1.Cluster) []string {
	others := slices.DeleteFunc(slices.Clone(all), func(p v1alpha1.Project) bool { return p.Name == project.Name })
	var words []string
	if taken := Taken(Bound(project, others, clusters)); taken != "" {
		words = append(words, fmt.Sprintf("project %s does not own, of what it claims, %s: the more exact claim counts, then the older project; list spec.namespaces without them to be clear", project.Name, taken))
	}
	alone := []v1alpha1.Project{*project}
	for i := range others {
		if taken := Taken(Bound(&others[i], alone, clusters)); taken != "" {
			words = append(words, fmt.Sprintf("project %s owns from now on, of what project %s claims, %s: what %s delivers there is refused; move it, or choose other spec.namespaces for %s",
				project.Name, others[i].Name, taken, others[i].Name, project.Name))
		}
	}
	return words
}
