package policy

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"atoll.dev/atoll/api/v1alpha1"
)

// reservedGroups hold the hub's own kinds and questions that are answered, not
// kept.
var reservedGroups = map[string]bool{
	v1alpha1.GroupVersion.Group: true,
	"authentication.k8s.io":     true,
	"authorization.k8s.io":      true,
}

// escalators are groups, and kinds of the core group, that give power over the
// cluster: a "*" in spec.kinds does not cover them, each must be named.
var (
	escalatorGroups = map[string]bool{
		rbacv1.GroupName:               true,
		"admissionregistration.k8s.io": true,
		"apiregistration.k8s.io":       true,
		"apiextensions.k8s.io":         true,
		"certificates.k8s.io":          true,
	}
	escalatorKinds = map[schema.GroupKind]bool{
		{Kind: "Node"}:             true,
		{Kind: "PersistentVolume"}: true,
	}
)

// listed tells whether the project was given the kind beyond namespaced ones.
func listed(kinds []v1alpha1.GroupKind, gk schema.GroupKind) bool {
	byName := Escalates(gk)
	return slices.ContainsFunc(kinds, func(k v1alpha1.GroupKind) bool {
		return k.Group == gk.Group && (k.Kind == gk.Kind || (k.Kind == "*" && !byName))
	})
}

// content refuses objects that are allowed by kind and place but not by what
// they say.
func (c *checker) content(obj *unstructured.Unstructured, gk schema.GroupKind) (reason, message string) {
	switch {
	case gk == schema.GroupKind{Kind: "Secret"} && text(obj.Object, "type") == string(corev1.SecretTypeServiceAccountToken):
		return TokenSecret, "a Secret of this type makes the cluster mint a credential that never expires; let pods use projected tokens"
	case gk.Group != rbacv1.GroupName:
		return "", ""
	case !listed(c.policy.Kinds, gk):
		return RBACForbidden, "project " + c.project + " may not change access rights; ask the platform team to add " + gk.String() + " to its spec.kinds"
	}
	if message = escalates(obj); message != "" {
		return Escalation, message
	}
	return "", ""
}

// escalates is the sentence for RBAC that reaches beyond any project. The
// member's own check, that nobody grants what he lacks, judges the rest.
func escalates(obj *unstructured.Unstructured) string {
	if text(obj.Object, "roleRef", "name") == "cluster-admin" {
		return "roleRef names cluster-admin; bind a role that lists what is needed"
	}
	for _, subject := range objects(obj.Object["subjects"]) {
		name := text(subject, "name")
		if text(subject, "kind") != rbacv1.ServiceAccountKind && strings.HasPrefix(name, "system:") {
			return "subjects names " + name + "; only the cluster binds its own users and groups"
		}
	}
	for _, rule := range objects(obj.Object["rules"]) {
		if verb := dangerousVerb(rule); verb != "" {
			return "rules grants the verb " + verb + ", which hands on more rights than the project has"
		}
	}
	if _, aggregates := obj.Object["aggregationRule"]; aggregates {
		return "aggregationRule collects rights that are not listed; list them in rules"
	}
	for label := range obj.GetLabels() {
		if strings.HasPrefix(label, "rbac.authorization.k8s.io/aggregate-to-") {
			return "label " + label + " widens a role of the whole cluster; remove it"
		}
	}
	return ""
}

func dangerousVerb(rule map[string]any) string {
	onRBAC := contains(rule["apiGroups"], "*") || contains(rule["apiGroups"], rbacv1.GroupName)
	for _, verb := range []string{"escalate", "bind", "impersonate"} {
		if contains(rule["verbs"], verb) {
			return verb
		}
	}
	if onRBAC && contains(rule["verbs"], "*") {
		return "*"
	}
	return ""
}

func text(obj map[string]any, path ...string) string {
	value, _, _ := unstructured.NestedString(obj, path...)
	return value
}

func objects(v any) []map[string]any {
	list, _ := v.([]any)
	out := make([]map[string]any, 0, len(list))
	for _, item := range list {
		if m, ok := item.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}

func contains(v any, wanted string) bool {
	list, _ := v.([]any)
	return slices.Contains(list, any(wanted))
}

// Escalates tells whether a kind gives power over the whole cluster, so that
// listing it for a project is no ordinary edit.
func Escalates(gk schema.GroupKind) bool {
	return escalatorGroups[gk.Group] || escalatorKinds[gk]
}
