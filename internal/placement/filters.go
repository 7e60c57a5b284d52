package placement

import (
	"k8s.io/apimachinery/pkg/labels"

	"atoll.dev/atoll/api/v1alpha1"
)

// try is one cluster being tried against one rule of one project.
type try struct {
	rule     *Rule
	project  *v1alpha1.Project
	allowed  labels.Selector // the project's clusters; nil allows all
	cluster  *v1alpha1.Cluster
	previous bool // chosen last time
}

// filters in the order in which they are tried and told.
var filters = []func(*try) *Refusal{
	(*try).admitted,
	(*try).staying,
	(*try).inProject,
	(*try).tenant,
	(*try).residency,
	(*try).facts,
	(*try).profile,
	(*try).named,
	(*try).labelled,
	(*try).whereHolds,
	(*try).untainted,
	(*try).uncordoned,
}

func (t *try) admitted() *Refusal {
	if !t.cluster.Spec.Accepted {
		return &Refusal{NotAccepted, "the cluster has not been accepted; run: atoll accept " + t.cluster.Name}
	}
	if t.cluster.Status.Identity == nil && t.cluster.Spec.Direct == nil {
		return &Refusal{NotJoined, "no agent has joined for the cluster yet"}
	}
	return nil
}

func (t *try) staying() *Refusal {
	if t.cluster.DeletionTimestamp == nil {
		return nil
	}
	return &Refusal{BeingDeleted, "the cluster is being removed from the fleet"}
}

func (t *try) inProject() *Refusal {
	if t.allowed == nil || t.allowed.Matches(labels.Set(t.cluster.Labels)) {
		return nil
	}
	return &Refusal{OutsideProject, "project " + t.project.Name + " may use clusters with " + t.project.Spec.Clusters}
}

func (t *try) tenant() *Refusal {
	theirs, ours := t.cluster.Spec.Tenant, t.project.Spec.Tenant
	switch {
	case theirs == ours:
		return nil
	case ours == "":
		return &Refusal{TenantMismatch, "the cluster is dedicated to tenant " + theirs + ", project " + t.project.Name + " has none"}
	case theirs == "":
		return &Refusal{TenantMismatch, "project " + t.project.Name + " runs on clusters of tenant " + ours + " only, this one has none"}
	}
	return &Refusal{TenantMismatch, "the cluster is dedicated to tenant " + theirs + ", project " + t.project.Name + " is of " + ours}
}

func (t *try) residency() *Refusal {
	if m := breach("project "+t.project.Name, t.project.Spec.Residency, t.cluster); m != "" {
		return &Refusal{ResidencyViolation, m}
	}
	if m := breach("the placement", t.rule.spec.Residency, t.cluster); m != "" {
		return &Refusal{ResidencyViolation, m}
	}
	return nil
}

// facts keeps work off a cluster whose nodes contradict its declaration. Where
// residency is demanded that is hard; elsewhere a wrong node label must not
// withdraw what runs, so it only keeps new work away.
func (t *try) facts() *Refusal {
	m := factsMismatch(t.cluster)
	if m == "" {
		return nil
	}
	if t.previous && !demands(t.project.Spec.Residency, t.rule.spec.Residency) {
		return nil
	}
	return &Refusal{FactsMismatch, m + "; correct the Cluster or the nodes' labels"}
}

func (t *try) profile() *Refusal {
	if t.cluster.Spec.Profile != v1alpha1.ProfileRead {
		return nil
	}
	return &Refusal{ReadOnlyProfile, "the cluster is only observed: its agent joined with profile read, and applies nothing"}
}

func (t *try) named() *Refusal {
	if t.rule.names == nil || t.rule.names[t.cluster.Name] {
		return nil
	}
	return &Refusal{NameNotListed, "the placement lists clusters by name and not this one"}
}

func (t *try) labelled() *Refusal {
	if t.rule.selector == nil || t.rule.selector.Matches(labels.Set(t.cluster.Labels)) {
		return nil
	}
	return &Refusal{LabelsMismatch, "the cluster's labels do not match " + t.rule.spec.Clusters}
}

func (t *try) whereHolds() *Refusal {
	if t.rule.where == nil {
		return nil
	}
	return t.rule.where.refuse(t.cluster)
}

func (t *try) untainted() *Refusal {
	for _, taint := range t.cluster.Spec.Taints {
		if t.rule.tolerates(taint) || (taint.Effect == v1alpha1.TaintNoSelect && t.previous) {
			continue
		}
		return &Refusal{Tainted, "the cluster has taint " + taintText(taint) + ", which the placement does not tolerate"}
	}
	return nil
}

func (r *Rule) tolerates(taint v1alpha1.Taint) bool {
	for _, toleration := range r.spec.Tolerations {
		if toleration.Key == taint.Key && (toleration.Value == "" || toleration.Value == taint.Value) {
			return true
		}
	}
	return false
}

func taintText(t v1alpha1.Taint) string {
	if t.Value == "" {
		return t.Key + ":" + string(t.Effect)
	}
	return t.Key + "=" + t.Value + ":" + string(t.Effect)
}

func (t *try) uncordoned() *Refusal {
	if !t.cluster.Spec.Unschedulable || t.previous {
		return nil
	}
	return &Refusal{Cordoned, "the cluster is cordoned: nothing new comes in; run: atoll uncordon " + t.cluster.Name}
}
