package placement

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"atoll.dev/atoll/api/v1alpha1"
)

func (d *Decision) refuse(cluster string, refusals []Refusal) {
	v := Verdict{Cluster: cluster, Reason: refusals[0].Reason, Message: refusals[0].Message}
	if len(refusals) > 1 {
		v.Also = refusals[1:]
	}
	d.Why[cluster] = v
}

func (d *Decision) choose(c *v1alpha1.Cluster, before bool) {
	v := Verdict{Cluster: c.Name, Chosen: true, Reason: Chosen, Message: "every rule holds"}
	if before {
		v.Reason, v.Message = Kept, "chosen before and every rule still holds"
		if c.Spec.Unschedulable {
			v.Message = "chosen before; the cordon only keeps new work away"
		}
	}
	d.Why[c.Name] = v
	d.Chosen = append(d.Chosen, c.Name)
}

// explainAbsent gives a verdict to names that no cluster bears.
func (r *Rule) explainAbsent(d *Decision, previous []string) {
	for _, name := range previous {
		if _, ok := d.Why[name]; !ok {
			d.refuse(name, []Refusal{{NotFound, "chosen before, but the cluster is not in the fleet any more"}})
		}
	}
	for name := range r.names {
		if v, ok := d.Why[name]; !ok || v.Reason == NotFound {
			d.refuse(name, []Refusal{{NotFound, "the placement names it and the fleet has no such cluster"}})
		}
	}
}

func left(previous []string, why map[string]Verdict) []string {
	var gone []string
	for _, name := range previous {
		if !why[name].Chosen {
			gone = append(gone, name)
		}
	}
	slices.Sort(gone)
	return slices.Compact(gone)
}

func (r *Rule) summarise(d *Decision, fleet int) {
	if r.spec.Count != nil {
		d.Missing = max(0, int(*r.spec.Count)-len(d.Chosen))
	}
	switch {
	case fleet == 0:
		d.Reason, d.Message = NoMatch, "the fleet has no clusters yet; add one with: atoll join"
	case len(d.Chosen) == 0:
		d.Reason, d.Message = NoMatch, "no cluster is eligible: "+tally(d.Why)
	case d.Missing > 0:
		d.Reason = TooFew
		d.Message = fmt.Sprintf("%d of the %d clusters asked for are eligible: %s", len(d.Chosen), *r.spec.Count, tally(d.Why))
	default:
		d.Reason, d.Message = Placed, fmt.Sprintf("%d of %d clusters chosen", len(d.Chosen), fleet)
	}
}

// tally counts the refused by their first reason, most frequent first:
// "3 LabelsMismatch, 1 Cordoned".
func tally(why map[string]Verdict) string {
	counts := map[Reason]int{}
	for _, v := range why {
		if !v.Chosen {
			counts[v.Reason]++
		}
	}
	reasons := slices.SortedFunc(maps.Keys(counts), func(a, b Reason) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	parts := make([]string, 0, len(reasons))
	for _, reason := range reasons {
		parts = append(parts, fmt.Sprintf("%d %s", counts[reason], reason))
	}
	return strings.Join(parts, ", ")
}

// first joins at most n names and counts the rest.
func first(names []string, n int) string {
	if len(names) <= n {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:n], ", "), len(names)-n)
}
