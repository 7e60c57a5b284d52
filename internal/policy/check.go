package policy

import (
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/report"
)

// The reasons of a Violation.
const (
	Malformed        = "Malformed"
	ListWrapped      = "ListWrapped"
	SystemNamespace  = "SystemNamespace"
	ReservedName     = "ReservedName"
	ReservedGroup    = "ReservedGroup"
	UnknownKind      = "UnknownKind"
	ClusterScoped    = "ClusterScoped"
	ForeignNamespace = "ForeignNamespace"
	NoNamespace      = "NoNamespace"
	RBACForbidden    = "RBACForbidden"
	Escalation       = "Escalation"
	TokenSecret      = "TokenSecret"
)

// Violation is one object that the project may not deliver, and what to do.
type Violation struct {
	Object  report.ObjectRef `json:"object"`
	Reason  string           `json:"reason"`
	Message string           `json:"message"`
}

// Scope tells whether a kind is namespaced, and whether it is known at all. An
// agent answers from its member's discovery, the hub by HubScope.
type Scope func(schema.GroupKind) (namespaced, known bool)

// Check returns a Violation for every object that project may not deliver
// under p; an object violates at most once, by its first reason. Namespaced
// objects without a namespace are judged in defaultNamespace.
//
// UnknownKind means only that scope does not know the kind: an agent waits for
// the kind's CRD instead of calling it a refusal.
func Check(p desired.Policy, project, defaultNamespace string, objs []*unstructured.Unstructured, scope Scope) []Violation {
	c := checker{policy: p, project: project, namespaces: desired.Namespaces(project, p.Namespaces), fallback: defaultNamespace, scope: scope}
	var all []Violation
	for _, obj := range objs {
		ref, reason, message := c.judge(obj)
		if reason != "" {
			all = append(all, Violation{Object: ref, Reason: reason, Message: message})
		}
	}
	return all
}

type checker struct {
	policy     desired.Policy
	project    string
	namespaces []string
	fallback   string
	scope      Scope
}

// judge returns an empty reason for an object that may be delivered.
func (c *checker) judge(obj *unstructured.Unstructured) (ref report.ObjectRef, reason, message string) {
	ref, message = identify(obj)
	if message != "" {
		return ref, Malformed, message
	}
	gk := schema.GroupKind{Group: ref.Group, Kind: ref.Kind}
	if _, items := obj.Object["items"]; gk.Kind == "List" || (items && strings.HasSuffix(gk.Kind, "List")) {
		return ref, ListWrapped, "a list hides what it holds; give its items as documents of their own"
	}
	if c.policy.Hub != nil {
		if ref, reason, message = judgeHub(*c.policy.Hub, c.project, c.fallback, ref); reason == "" {
			reason, message = overridden(obj)
		}
		return ref, reason, message
	}
	namespaced, known := c.scope(gk)
	if namespaced && ref.Namespace == "" {
		ref.Namespace = c.fallback
	}
	if reason, message = reserved(ref, gk); reason != "" {
		return ref, reason, message
	}
	if c.policy.Privileged {
		return ref, "", ""
	}
	reason, message = c.bounds(ref, gk, namespaced, known)
	if reason == "" {
		reason, message = c.content(obj, gk)
	}
	return ref, reason, message
}

// identify reads what names an object; the sentence tells what is wrong with it.
func identify(obj *unstructured.Unstructured) (report.ObjectRef, string) {
	if obj == nil || obj.Object == nil {
		return report.ObjectRef{}, "the object is empty"
	}
	ref := report.ObjectRef{Kind: obj.GetKind(), Name: obj.GetName()}
	gv, err := schema.ParseGroupVersion(obj.GetAPIVersion())
	if err != nil || gv.Version == "" || ref.Kind == "" {
		return ref, "the object needs an apiVersion such as apps/v1 and a kind"
	}
	ref.Group, ref.Version = gv.Group, gv.Version
	// GetNamespace reads a namespace of another type as none, which would be
	// judged in the default namespace and then sent as it stands.
	namespace, _, err := unstructured.NestedString(obj.Object, "metadata", "namespace")
	if err != nil {
		return ref, "metadata.namespace is not a string"
	}
	ref.Namespace = namespace
	if ref.Name == "" {
		return ref, "metadata.name is missing; an object without a fixed name cannot be kept or removed"
	}
	return ref, ""
}

// reserved is what nobody may deliver, privileged or not.
func reserved(ref report.ObjectRef, gk schema.GroupKind) (reason, message string) {
	isNamespace := gk == schema.GroupKind{Kind: "Namespace"}
	if ref.Namespace == v1alpha1.SystemNamespace || (isNamespace && ref.Name == v1alpha1.SystemNamespace) {
		return SystemNamespace, v1alpha1.SystemNamespace + " belongs to the agent; nothing is delivered there"
	}
	if gk.Group == rbacv1.GroupName && (strings.HasPrefix(ref.Name, "atoll-") || strings.HasPrefix(ref.Name, "atoll:")) {
		return ReservedName, "RBAC objects named atoll-… and atoll:… are the agent's own; choose another name"
	}
	return "", ""
}

// bounds checks group, scope and namespace against the project.
func (c *checker) bounds(ref report.ObjectRef, gk schema.GroupKind, namespaced, known bool) (reason, message string) {
	switch {
	case reservedGroups[gk.Group]:
		return ReservedGroup, "objects of " + gk.Group + " are not delivered for a project; only a privileged project may"
	case gk == schema.GroupKind{Kind: "Namespace"}:
		return c.namespace(ref.Name)
	case !known:
		return UnknownKind, "the kind " + gk.String() + " is not served here; deliver its CustomResourceDefinition first"
	case !namespaced && !listed(c.policy.Kinds, gk):
		return ClusterScoped, "the kind " + gk.String() + " belongs to the whole cluster; ask the platform team to add it to spec.kinds of project " + c.project
	case !namespaced:
		return "", ""
	case ref.Namespace == "":
		return NoNamespace, "the object names no namespace and the application has no default; set metadata.namespace"
	}
	return c.namespace(ref.Namespace)
}

func (c *checker) namespace(name string) (reason, message string) {
	if SystemOwned(name) {
		return SystemNamespace, "namespace " + name + " belongs to the cluster; no project may write there"
	}
	owned, other, claim := desired.Owner(c.namespaces, name)
	switch {
	case owned:
		return "", ""
	case other != "":
		return ForeignNamespace, "namespace " + name + " is project " + other + "'s, whose claim to " + claim + " goes before that of project " + c.project +
			"; use another one, or have spec.namespaces of one of the two changed"
	}
	return ForeignNamespace, "namespace " + name + " is not among those of project " + c.project + " (" +
		strings.Join(desired.Claims(c.namespaces), ", ") + "); use one of them or have it added to the project's spec.namespaces"
}
