// Package starter is the set of policies to begin with. It decides what they say,
// how bad it is to break them, and which controls of frameworks they support. Who
// gets them is left to the application that delivers them, and how strict they are
// where to its overrides.
package starter

import (
	"embed"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"atoll.dev/atoll/internal/compliance"
)

//go:embed *.yaml
var files embed.FS

// TitleKey is the annotation that says in a line what a policy wants.
const TitleKey = "atoll.dev/title"

// Namespace is where the parameters of the policies are.
const Namespace = "atoll-policies"

// Policies are the policies alone, by name.
func Policies() []*unstructured.Unstructured {
	entries, err := files.ReadDir(".")
	must(err)
	var all []*unstructured.Unstructured
	for _, e := range entries {
		data, err := files.ReadFile(e.Name())
		must(err)
		u := &unstructured.Unstructured{}
		must(yaml.UnmarshalStrict(data, &u.Object))
		all = append(all, u)
	}
	slices.SortFunc(all, func(a, b *unstructured.Unstructured) int { return strings.Compare(a.GetName(), b.GetName()) })
	return all
}

// must: the files are part of the program, and a test reads each.
func must(err error) {
	if err != nil {
		panic(fmt.Sprintf("the starter policies cannot be read: %v", err))
	}
}

// Objects are all that a cluster needs: policies, what they take as parameters, and
// bindings with which objects are refused, or warned of and recorded.
func Objects(enforce bool) []*unstructured.Unstructured {
	all := parameters()
	policies := Policies()
	all = append(all, policies...)
	for _, p := range policies {
		all = append(all, binding(p, enforce))
	}
	return all
}

func parameters() []*unstructured.Unstructured {
	return []*unstructured.Unstructured{
		{Object: map[string]any{
			"apiVersion": "v1", "kind": "Namespace",
			"metadata": map[string]any{"name": Namespace, "labels": map[string]any{"pod-security.kubernetes.io/enforce": "restricted"}},
		}},
		{Object: map[string]any{
			"apiVersion": "v1", "kind": "ConfigMap",
			"metadata": map[string]any{"name": "required-labels", "namespace": Namespace},
			"data":     map[string]any{"namespaces": "cost-center"},
		}},
	}
}

// binding leaves alone what belongs to Kubernetes and to Atoll, and the namespaces
// that are exempt.
func binding(p *unstructured.Unstructured, enforce bool) *unstructured.Unstructured {
	var apart []any
	for _, name := range compliance.SystemNamespaces {
		apart = append(apart, name)
	}
	actions := []any{"Warn", "Audit"}
	if enforce {
		actions = []any{"Deny", "Audit"}
	}
	spec := map[string]any{
		"policyName":        p.GetName(),
		"validationActions": actions,
		"matchResources": map[string]any{"namespaceSelector": map[string]any{"matchExpressions": []any{
			map[string]any{"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": apart},
			map[string]any{"key": compliance.ExemptPrefix + p.GetName(), "operator": "DoesNotExist"},
		}}},
	}
	if _, takes, _ := unstructured.NestedMap(p.Object, "spec", "paramKind"); takes {
		spec["paramRef"] = map[string]any{"name": p.GetName(), "namespace": Namespace, "parameterNotFoundAction": "Allow"}
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "admissionregistration.k8s.io/v1", "kind": compliance.BindingKind,
		"metadata": map[string]any{"name": p.GetName()}, "spec": spec,
	}}
}
