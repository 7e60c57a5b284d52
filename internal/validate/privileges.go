package validate

import (
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/policy"
)

// The verbs beyond Kubernetes' own.
const (
	// VerbClassify is for saying where data may live and whose it is.
	VerbClassify = "classify"
	// VerbEscalate is for giving a project power over whole clusters.
	VerbEscalate = "escalate"
	// VerbUpgrade is for saying which agent a cluster runs.
	VerbUpgrade = "upgrade"
)

// Privilege is a verb that a change needs beside create or update.
type Privilege struct {
	Verb     string
	Resource schema.GroupResource
	// Namespace is where it is needed; "" for what belongs to none, or everywhere.
	Namespace string
	Name      string
	// Field is what the change touches, for the refusal.
	Field string
}

// Privileges lists what a change of one object needs; old is nil on create.
// Objects of other kinds need nothing. An object without its kind's shape needs
// nothing either: Object refuses it.
func Privileges(gvk schema.GroupVersionKind, new, old *unstructured.Unstructured) []Privilege {
	if gvk.Group != v1alpha1.GroupVersion.Group {
		return nil
	}
	after, err := decode(gvk.Kind, new)
	if err != nil {
		return nil
	}
	before, err := decode(gvk.Kind, old)
	if err != nil {
		return nil
	}
	switch n := after.(type) {
	case *v1alpha1.Cluster:
		return clusterPrivileges(n, orEmpty(as[v1alpha1.Cluster](before)))
	case *v1alpha1.Project:
		return projectPrivileges(n, orEmpty(as[v1alpha1.Project](before)))
	}
	return nil
}

func orEmpty[T any](p *T) *T {
	if p == nil {
		return new(T)
	}
	return p
}

func clusterPrivileges(after, before *v1alpha1.Cluster) []Privilege {
	var needed []Privilege
	for _, f := range []struct{ name, after, before string }{
		{"spec.jurisdiction", after.Spec.Jurisdiction, before.Spec.Jurisdiction},
		{"spec.region", after.Spec.Region, before.Spec.Region},
		{"spec.tenant", after.Spec.Tenant, before.Spec.Tenant},
	} {
		if f.after != f.before {
			needed = append(needed, privilege(VerbClassify, "clusters", after.Name, f.name))
		}
	}
	if !equality.Semantic.DeepEqual(after.Spec.Agent, before.Spec.Agent) {
		needed = append(needed, privilege(VerbUpgrade, "clusters", after.Name, "spec.agent"))
	}
	return needed
}

func projectPrivileges(after, before *v1alpha1.Project) []Privilege {
	var needed []Privilege
	if !equality.Semantic.DeepEqual(after.Spec.Residency, before.Spec.Residency) {
		needed = append(needed, privilege(VerbClassify, "projects", after.Name, "spec.residency"))
	}
	if after.Spec.Tenant != before.Spec.Tenant {
		needed = append(needed, privilege(VerbClassify, "projects", after.Name, "spec.tenant"))
	}
	if after.Spec.Privileged && !before.Spec.Privileged {
		needed = append(needed, privilege(VerbEscalate, "projects", after.Name, "spec.privileged"))
	}
	for _, kind := range after.Spec.Kinds {
		gk := schema.GroupKind{Group: kind.Group, Kind: kind.Kind}
		if policy.Escalates(gk) && !slices.Contains(before.Spec.Kinds, kind) {
			needed = append(needed, privilege(VerbEscalate, "projects", after.Name, "spec.kinds"))
			break
		}
	}
	return needed
}

func privilege(verb, resource, name, field string) Privilege {
	return Privilege{
		Verb: verb, Name: name, Field: field,
		Resource: schema.GroupResource{Group: v1alpha1.GroupVersion.Group, Resource: resource},
	}
}
