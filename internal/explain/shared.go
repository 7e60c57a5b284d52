package explain

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/placement"
	"atoll.dev/atoll/internal/source"
)

// condition is the application's condition if it speaks of the present spec.
func (f Facts) condition(kind string) *metav1.Condition {
	c := meta.FindStatusCondition(f.Application.Status.Conditions, kind)
	if c == nil || c.ObservedGeneration < f.Application.Generation {
		return nil
	}
	return c
}

func (f Facts) source() Link {
	l := Link{Stage: Source}
	accepted := f.condition(v1alpha1.ConditionAccepted)
	switch {
	case f.Project == nil:
		l.Outcome = Broken
		l.Why = fmt.Sprintf("no project is named %s; what runs stays as it is", f.Application.Namespace)
		l.Do = "create the project: atoll apply -f project.yaml"
	case accepted == nil:
		l.Outcome, l.Why = Waiting, fmt.Sprintf("the hub has not looked at generation %d yet", f.Application.Generation)
	case accepted.Status == metav1.ConditionTrue && f.unfetched() != nil:
		l.Outcome, l.Why, l.Do = Broken, f.unfetched().Message, f.mendSource(f.unfetched().Reason)
	case accepted.Status == metav1.ConditionTrue:
		l.Outcome, l.Why = OK, f.origin()
	case f.Application.DeletionTimestamp != nil:
		l.Outcome, l.Why = OK, "the application is being deleted"
	case accepted.Reason == "InvalidPlacement":
		l.Outcome, l.Why = OK, f.origin() // the placement's own link says it
	default:
		l.Outcome, l.Why, l.Do = Broken, accepted.Message, f.mendSource(accepted.Reason)
	}
	return l
}

// unfetched is why the hub cannot follow the source, nil if it can.
func (f Facts) unfetched() *metav1.Condition {
	c := f.condition(v1alpha1.ConditionFetched)
	if c == nil || c.Status == metav1.ConditionTrue {
		return nil
	}
	return c
}

func (f Facts) mendSource(reason string) string {
	if follow := source.Followed(f.Application.Spec.Source); follow != nil && reason != "PolicyRefused" {
		return "mend it in the repository, or spec.source." + follow.Field + " and its Secret; the hub looks again by itself, and now with: kubectl annotate applications.atoll.dev " +
			f.Application.Name + " -n " + f.Application.Namespace + " --overwrite atoll.dev/fetch=$(date +%s)"
	}
	if reason == "PolicyRefused" {
		return "take the object out and " + f.deploy() + ", or let an admin widen the project: kubectl edit projects.atoll.dev " + f.Project.Name
	}
	if f.Application.Spec.Source.Inline != "" {
		return "mend spec.source.inline and apply the Application again: atoll apply -f FILE"
	}
	return "mend the manifests, then: " + f.deploy()
}

func (f Facts) origin() string {
	from := f.Application.Spec.Source
	follow := source.Followed(from)
	switch {
	case follow != nil && f.Application.Status.Source != nil && f.Application.Status.Source.Commit != nil:
		c := f.Application.Status.Source.Commit
		return strings.TrimSuffix("admitted, "+follow.Told(c)+": "+c.Message, ": ")
	case from.Content == nil:
		return "the inline manifests are admitted"
	case from.Content.Origin != "":
		return "admitted, from " + from.Content.Origin
	default:
		return "admitted, as uploaded"
	}
}

func (f Facts) revision() Link {
	l := Link{Stage: Revision}
	switch {
	case f.Revision == nil && f.Application.Status.Revision == "":
		l.Outcome, l.Why = Unknown, "nothing was ever admitted, so there is nothing to deliver"
	case f.Revision == nil:
		l.Outcome = Broken
		l.Why = fmt.Sprintf("the record of revision %s is gone; clusters keep what they have", f.Application.Status.Revision)
		l.Do = f.deploy()
	case !f.Stored:
		l.Outcome = Broken
		l.Why = fmt.Sprintf("the content of %s cannot be read from the hub's store%s; clusters that have it go on, others cannot get it", f.Revision.Name, because(f.StoreErr))
		l.Do = "store it again: " + f.deploy()
	default:
		l.Outcome = OK
		l.Why = fmt.Sprintf("%s holds %s", f.Revision.Name, count(int(f.Revision.Spec.Objects), "object"))
		if by := source.By(&f.Revision.Spec); by != "" && by != f.Revision.Spec.Origin {
			l.Why += ", by " + by
		}
		if n := f.Revision.Spec.Secrets; n > 0 {
			l.Why += fmt.Sprintf(", the values of %s apart and sealed", count(int(n), "Secret"))
		}
		if n := len(f.Revision.Spec.Overrides); n > 0 {
			l.Why += fmt.Sprintf("; %s by %s", count(len(f.Application.Status.Variants), "content"), count(n, "override"))
		}
	}
	return l
}

func because(why string) string {
	if why == "" {
		return ""
	}
	return " (" + why + ")"
}

func (f Facts) placement() Link {
	l := Link{Stage: Placement}
	if f.Only != "" && !f.placed(f.Only) {
		return f.notPlaced(l)
	}
	placed := f.condition(v1alpha1.ConditionPlaced)
	switch {
	case f.Application.DeletionTimestamp != nil:
		l.Outcome, l.Why = OK, "nowhere: the application is being deleted"
	case f.Application.Spec.Placement == nil:
		l.Outcome, l.Why = Broken, "the application says not where to run"
		l.Do = fmt.Sprintf("atoll deploy %s -f PATH --to 'stage=production'%s, or add spec.placement", f.Application.Name, f.project())
	case f.Project == nil:
		l.Outcome, l.Why = Unknown, "placement needs the project; clusters keep what they have"
	case placed != nil && placed.Reason == "InvalidPlacement":
		l.Outcome, l.Why, l.Do = Broken, placed.Message, "mend spec.placement of the application, or the Placement it names"
	case f.Decision.Empty:
		l.Outcome, l.Why, l.Do = Broken, f.Decision.Message+f.nearest(), f.mendPlacement()
	case f.Decision.Missing > 0:
		l.Outcome, l.Why, l.Do = Broken, f.Decision.Message+f.nearest(), f.mendPlacement()
	default:
		l.Outcome, l.Why = OK, cmp.Or(f.Decision.Message, "on "+count(len(f.Decision.Chosen), "cluster"))
	}
	return l
}

// notPlaced explains the one cluster that was asked about.
func (f Facts) notPlaced(l Link) Link {
	l.Cluster = f.Only
	verdict, known := f.Decision.Why[f.Only]
	l.Outcome = Broken
	switch {
	case known && verdict.Chosen:
		l.Outcome, l.Why = Waiting, "the cluster was chosen just now; the hub is about to ask it"
	case known:
		l.Why, l.Do = f.Only+" was not chosen: "+verdict.Message, remedyFor(verdict.Reason, f.Only)
	case f.Application.Spec.Placement == nil:
		l.Why, l.Do = "the application says not where to run", "add spec.placement to the application"
	default:
		l.Why, l.Do = "no cluster is named "+f.Only, "see the names with: atoll get clusters"
	}
	return l
}

// nearest names the clusters that were refused, so that a person sees which
// one reason keeps them out.
func (f Facts) nearest() string {
	const most = 3
	var said []string
	for _, v := range f.Decision.Verdicts() {
		if !v.Chosen && len(v.Also) == 0 && v.Reason != placement.CountReached {
			said = append(said, v.Cluster+": "+v.Message)
		}
	}
	if len(said) == 0 {
		return ""
	}
	more := ""
	if len(said) > most {
		more = fmt.Sprintf("; and %d more", len(said)-most)
		said = said[:most]
	}
	return " (nearest: " + strings.Join(said, "; ") + more + ")"
}

func (f Facts) mendPlacement() string {
	var reasons []placement.Reason
	for _, v := range f.Decision.Verdicts() {
		if !v.Chosen && len(v.Also) == 0 {
			reasons = append(reasons, v.Reason)
		}
	}
	first := slices.IndexFunc(reasons, func(r placement.Reason) bool { return remedyFor(r, "CLUSTER") != "" })
	if first >= 0 && len(f.Decision.Why) == 1 {
		for cluster := range f.Decision.Why {
			return remedyFor(reasons[first], cluster)
		}
	}
	return fmt.Sprintf("see each cluster's reason: atoll explain %s --placement%s; labels: atoll get clusters -o wide", f.ref(), f.project())
}

// remedyFor says how a refused cluster becomes eligible.
func remedyFor(reason placement.Reason, cluster string) string {
	switch reason {
	case placement.NotAccepted:
		return "atoll accept " + cluster
	case placement.NotJoined:
		return "install its agent: atoll join " + cluster
	case placement.Cordoned:
		return "atoll uncordon " + cluster
	case placement.Tainted:
		return "tolerate the taint in spec.placement.tolerations, or remove it from the cluster"
	case placement.LabelsMismatch, placement.NameNotListed, placement.WhereFalse, placement.WhereFailed:
		return "change spec.placement, or label the cluster: kubectl label clusters.atoll.dev " + cluster + " KEY=VALUE"
	case placement.OutsideProject, placement.TenantMismatch:
		return "an admin may let the project use the cluster: spec.clusters and spec.tenant of the project"
	case placement.ResidencyViolation, placement.FactsMismatch:
		return "residency is a hard limit; who may classify can mend the cluster's region and jurisdiction"
	case placement.ReadOnlyProfile:
		return "install the agent with more access: atoll join " + cluster + " --profile namespaces"
	case placement.CountReached:
		return "raise spec.placement.count"
	}
	return ""
}
