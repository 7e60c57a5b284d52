package compliance

import (
	"slices"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/predicates/rules"
)

// matching is whether a policy or a binding is about an object.
type matching int

const (
	apart matching = iota
	about
	// elsewhere: about the object as it would be in another version of its API.
	elsewhere
)

// exempted are the kinds about which API servers ask no policy, so that nobody
// locks himself out.
var exempted = []schema.GroupResource{
	{Group: admissionGroup, Resource: "validatingadmissionpolicies"},
	{Group: admissionGroup, Resource: "validatingadmissionpolicybindings"},
	{Group: admissionGroup, Resource: "mutatingadmissionpolicies"},
	{Group: admissionGroup, Resource: "mutatingadmissionpolicybindings"},
}

// matches tells by selectors and rules.
func (m match) matches(o *object, namespace map[string]string) matching {
	if slices.Contains(exempted, o.resource.GroupResource()) || !m.selects(o, namespace) {
		return apart
	}
	if anyRule(m.ExcludeResourceRules, o.attributes) {
		return apart
	}
	if len(m.ResourceRules) == 0 || anyRule(m.ResourceRules, o.attributes) {
		return about
	}
	if *m.MatchPolicy == admissionv1.Equivalent && m.otherVersion(o) {
		return elsewhere
	}
	return apart
}

// selects is about labels. A Namespace is selected by its own; what is in none is
// outside every selector of namespaces.
func (m match) selects(o *object, namespace map[string]string) bool {
	if !m.namespaces.Empty() && (o.namespace != "" || o.isNamespace()) && !m.namespaces.Matches(labels.Set(namespace)) {
		return false
	}
	return m.objects.Empty() || m.objects.Matches(labels.Set(o.manifest.GetLabels()))
}

// otherVersion tells rules that name the object's resource in a version that it is
// not written in.
func (m match) otherVersion(o *object) bool {
	for _, r := range m.ResourceRules {
		for _, version := range r.APIVersions {
			if version == "*" || version == o.resource.Version {
				continue
			}
			resource := o.resource
			resource.Version = version
			if anyRule([]admissionv1.NamedRuleWithOperations{r}, o.in(resource)) {
				return true
			}
		}
	}
	return false
}

// in describes the creation of an object as of a resource.
func (o *object) in(resource schema.GroupVersionResource) admission.Attributes {
	kind := o.manifest.GroupVersionKind()
	return admission.NewAttributesRecord(nil, nil, kind, o.namespace, o.ref.Name, resource, "", admission.Create, nil, false, nil)
}

func anyRule(all []admissionv1.NamedRuleWithOperations, a admission.Attributes) bool {
	for i := range all {
		m := rules.Matcher{Rule: all[i].RuleWithOperations, Attr: a}
		if m.Matches() && (len(all[i].ResourceNames) == 0 || slices.Contains(all[i].ResourceNames, a.GetName())) {
			return true
		}
	}
	return false
}
