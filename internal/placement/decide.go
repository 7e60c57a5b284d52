package placement

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/labels"

	"atoll.dev/atoll/api/v1alpha1"
)

// Decide chooses among clusters, in whatever order they come, and explains
// each. Without a project, and with a rule that asks for nothing, it chooses
// nothing.
func (r *Rule) Decide(project *v1alpha1.Project, clusters []v1alpha1.Cluster, previous []string) Decision {
	if r.spec.Hub {
		return decideHub(project, previous)
	}
	d := Decision{Chosen: []string{}, Why: make(map[string]Verdict, len(clusters))}
	if refusal, of := r.precondition(project); refusal != nil {
		d.Reason, d.Message = of, refusal.Message
		for i := range clusters {
			d.refuse(clusters[i].Name, []Refusal{*refusal})
		}
		r.explainAbsent(&d, previous)
	} else {
		r.decideAmong(&d, project, clusters, setOf(previous))
		r.explainAbsent(&d, previous)
		r.summarise(&d, len(clusters))
	}
	d.Left = left(previous, d.Why)
	d.Empty = len(d.Chosen) == 0
	return d
}

// Choose is Decide's Chosen without the words, for those who decide often.
func (r *Rule) Choose(project *v1alpha1.Project, clusters []v1alpha1.Cluster, previous []string) []string {
	if r.spec.Hub {
		return decideHub(project, previous).Chosen
	}
	if refusal, _ := r.precondition(project); refusal != nil {
		return []string{}
	}
	was := setOf(previous)
	allowed, _ := allowedBy(project)
	var eligible []*v1alpha1.Cluster
	for i := range clusters {
		t := try{rule: r, project: project, allowed: allowed, cluster: &clusters[i], previous: was[clusters[i].Name]}
		if t.eligible() {
			eligible = append(eligible, t.cluster)
		}
	}
	taken := r.take(eligible, was)
	chosen := make([]string, 0, len(taken))
	for _, c := range taken {
		chosen = append(chosen, c.Name)
	}
	slices.Sort(chosen)
	return chosen
}

// precondition is what makes every cluster ineligible at once.
func (r *Rule) precondition(project *v1alpha1.Project) (*Refusal, Reason) {
	if project == nil {
		return &Refusal{OutsideProject, "the project does not exist, so nothing bounds where the work may run"}, NoProject
	}
	if _, err := allowedBy(project); err != nil {
		return &Refusal{OutsideProject, "project " + project.Name + ": clusters: " + err.Error()}, InvalidBounds
	}
	if r.Empty() {
		return &Refusal{NothingAsked, `the placement names no clusters, labels or condition; where: "true" would choose every cluster`}, EmptyRule
	}
	return nil, ""
}

// allowedBy is the project's selector, nil when it may use all.
func allowedBy(project *v1alpha1.Project) (labels.Selector, error) {
	if strings.TrimSpace(project.Spec.Clusters) == "" {
		return nil, nil
	}
	return ParseSelector(project.Spec.Clusters)
}

func (r *Rule) decideAmong(d *Decision, project *v1alpha1.Project, clusters []v1alpha1.Cluster, was map[string]bool) {
	allowed, _ := allowedBy(project)
	var eligible []*v1alpha1.Cluster
	for i := range clusters {
		t := try{rule: r, project: project, allowed: allowed, cluster: &clusters[i], previous: was[clusters[i].Name]}
		if refusals := t.refusals(); refusals != nil {
			d.refuse(t.cluster.Name, refusals)
			continue
		}
		eligible = append(eligible, t.cluster)
	}
	taken := r.take(eligible, was)
	for _, c := range taken {
		d.choose(c, was[c.Name])
	}
	slices.Sort(d.Chosen)
	for _, c := range eligible {
		if _, in := d.Why[c.Name]; !in {
			d.refuse(c.Name, []Refusal{{CountReached, fmt.Sprintf("the placement takes %d and has chosen %s", len(taken), first(d.Chosen, 5))}})
		}
	}
}

func (t *try) eligible() bool {
	for _, filter := range filters {
		if filter(t) != nil {
			return false
		}
	}
	return true
}

func (t *try) refusals() []Refusal {
	var all []Refusal
	for _, filter := range filters {
		if refusal := filter(t); refusal != nil {
			all = append(all, *refusal)
		}
	}
	return all
}

// take cuts the eligible down to the rule's count: those chosen before first,
// then the connected, then one per failure domain in turn, then by name.
func (r *Rule) take(eligible []*v1alpha1.Cluster, was map[string]bool) []*v1alpha1.Cluster {
	if r.spec.Count == nil || int(*r.spec.Count) >= len(eligible) {
		return eligible
	}
	order := slices.SortedFunc(slices.Values(eligible), func(a, b *v1alpha1.Cluster) int {
		return cmp.Or(compareClass(a, b, was), cmp.Compare(a.Name, b.Name))
	})
	// The rank of a cluster is how many of its domain stand before it, so
	// sorting by rank takes one of each domain before the second of any.
	rank := make(map[string]int, len(order))
	inDomain := map[[2]string]int{}
	for _, c := range order {
		domain := [2]string{c.Spec.Region, c.Spec.Provider}
		rank[c.Name] = inDomain[domain]
		inDomain[domain]++
	}
	slices.SortStableFunc(order, func(a, b *v1alpha1.Cluster) int {
		return cmp.Or(compareClass(a, b, was), cmp.Compare(rank[a.Name], rank[b.Name]))
	})
	return order[:*r.spec.Count]
}

// compareClass puts those chosen before first, whatever their connection, and
// among the others the connected.
func compareClass(a, b *v1alpha1.Cluster, was map[string]bool) int {
	class := func(c *v1alpha1.Cluster) int {
		connected := c.Status.Connection.State == v1alpha1.Connected
		switch {
		case was[c.Name] && connected:
			return 0
		case was[c.Name]:
			return 1
		case connected:
			return 2
		}
		return 3
	}
	return cmp.Compare(class(a), class(b))
}

func setOf(names []string) map[string]bool {
	set := make(map[string]bool, len(names))
	for _, name := range names {
		set[name] = true
	}
	return set
}
