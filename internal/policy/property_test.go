package policy

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"pgregory.net/rapid"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/desired"
)

var (
	somewhere = rapid.SampledFrom([]string{"", "shop", "shop-eu", "shopper", "bank", "default", "kube-system", "kube-public", "atoll-system"})
	somekind  = rapid.SampledFrom([]schema.GroupVersionKind{
		{Version: "v1", Kind: "ConfigMap"}, {Version: "v1", Kind: "Secret"}, {Version: "v1", Kind: "Namespace"}, {Version: "v1", Kind: "Node"},
		{Version: "v1", Kind: "List"}, {Group: "apps", Version: "v1", Kind: "Deployment"}, {Group: rbacv1.GroupName, Version: "v1", Kind: "Role"},
		{Group: rbacv1.GroupName, Version: "v1", Kind: "ClusterRoleBinding"}, {Group: "example.com", Version: "v1", Kind: "Widget"},
		{Group: "storage.k8s.io", Version: "v1", Kind: "StorageClass"}, {Group: "atoll.dev", Version: "v1alpha1", Kind: "Cluster"},
	})
)

func drawObject(t *rapid.T) *unstructured.Unstructured {
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(somekind.Draw(t, "kind"))
	u.SetName(somewhere.Draw(t, "name"))
	u.SetNamespace(somewhere.Draw(t, "namespace"))
	return u
}

func drawPolicy(t *rapid.T) desired.Policy {
	return desired.Policy{
		Namespaces: rapid.SliceOfN(rapid.SampledFrom([]string{"shop", "shop-*", "k*", "atoll-*", "*"}), 0, 3).Draw(t, "patterns"),
		Kinds: rapid.SliceOfN(rapid.Map(somekind, func(gvk schema.GroupVersionKind) v1alpha1.GroupKind {
			return v1alpha1.GroupKind{Group: gvk.Group, Kind: gvk.Kind}
		}), 0, 3).Draw(t, "kinds"),
	}
}

// The statement of what may pass is written anew here, so that a slip in Check
// shows as a difference.
func TestNothingOutsideTheProjectEverPasses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, obj, fallback := drawPolicy(t), drawObject(t), somewhere.Draw(t, "default namespace")
		if len(Check(p, "shop", fallback, []*unstructured.Unstructured{obj}, memberScope)) > 0 {
			return
		}
		gk := obj.GroupVersionKind().GroupKind()
		place := obj.GetNamespace()
		if namespaced, _ := memberScope(gk); namespaced && place == "" {
			place = fallback
		}
		if gk.Kind == "Namespace" {
			place = obj.GetName()
		}
		if place == "atoll-system" || strings.HasPrefix(place, "kube-") {
			if namespaced, _ := memberScope(gk); namespaced || gk.Kind == "Namespace" {
				t.Fatalf("%s %s passed into %s", gk, obj.GetName(), place)
			}
		}
		allowed := p.Namespaces
		if len(allowed) == 0 {
			allowed = []string{"shop", "shop-*"}
		}
		within := slices.ContainsFunc(allowed, func(pattern string) bool {
			return pattern == place || (strings.HasSuffix(pattern, "*") && strings.HasPrefix(place, strings.TrimSuffix(pattern, "*")))
		})
		byName := slices.Contains(p.Kinds, v1alpha1.GroupKind{Group: gk.Group, Kind: gk.Kind})
		switch namespaced, _ := memberScope(gk); {
		case gk.Group == "atoll.dev" || gk.Group == "example.com" || gk.Kind == "List":
			t.Fatalf("%s passed", gk)
		case gk.Kind == "Namespace" || namespaced:
			if !within {
				t.Fatalf("%s %s passed into %q under %v", gk, obj.GetName(), place, allowed)
			}
			if gk.Group == rbacv1.GroupName && !byName {
				t.Fatalf("%s passed without being listed", gk)
			}
		case !byName:
			t.Fatalf("cluster-scoped %s passed without being listed", gk)
		}
	})
}

// What the member grants never exceeds what Check lets through.
func TestRBACGrantsNoMoreThanCheckAllows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawPolicy(t)
		access := ProjectRBAC("shop", p, Member{
			Resources:  served,
			Namespaces: rapid.SliceOf(somewhere).Draw(t, "namespaces"),
		})
		scope := func(gk schema.GroupKind) (bool, bool) {
			for _, r := range served {
				if r.Group == gk.Group && r.Kind == gk.Kind {
					return r.Namespaced, true
				}
			}
			return false, false
		}
		allowed := func(r Resource, namespace, name string) bool {
			u := &unstructured.Unstructured{}
			u.SetGroupVersionKind(schema.GroupVersionKind{Group: r.Group, Version: "v1", Kind: r.Kind})
			u.SetName(name)
			u.SetNamespace(namespace)
			return len(Check(p, "shop", "", []*unstructured.Unstructured{u}, scope)) == 0
		}
		for _, r := range served {
			for _, rule := range access.Namespaced {
				if !slices.Contains(rule.APIGroups, r.Group) || !slices.Contains(rule.Resources, r.Plural) {
					continue
				}
				for _, namespace := range access.Namespaces {
					if !allowed(r, namespace, "x") {
						t.Fatalf("%s in %s is granted and Check refuses it", r.Plural, namespace)
					}
				}
			}
			for _, rule := range access.Cluster {
				if !slices.Contains(rule.APIGroups, r.Group) || !slices.Contains(rule.Resources, r.Plural) {
					continue
				}
				names := rule.ResourceNames
				if names == nil {
					names = []string{"x"}
				}
				for _, name := range names {
					if r.Namespaced || !allowed(r, "", name) {
						t.Fatalf("%s %s is granted in the whole cluster and Check refuses it", r.Plural, name)
					}
				}
			}
		}
	})
}

func FuzzCheck(f *testing.F) {
	f.Add([]byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","namespace":"kube-system"}}`))
	f.Add([]byte(`{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"RoleBinding","metadata":{"name":"a","namespace":"shop"},"roleRef":{"name":"cluster-admin"},"subjects":[1,{"kind":{}}],"rules":[{"verbs":"x"}]}`))
	f.Add([]byte(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a","namespace":{"a":1}}}`))
	f.Add([]byte(`{"apiVersion":7,"kind":["Pod"],"metadata":"x"}`))
	policy := desired.Policy{Kinds: []v1alpha1.GroupKind{{Group: rbacv1.GroupName, Kind: "RoleBinding"}}}
	f.Fuzz(func(t *testing.T, data []byte) {
		u := &unstructured.Unstructured{}
		if json.Unmarshal(data, &u.Object) != nil {
			return
		}
		if len(Check(policy, "shop", "shop", []*unstructured.Unstructured{u}, memberScope)) > 0 {
			return
		}
		metadata, _ := u.Object["metadata"].(map[string]any)
		namespace, isText := metadata["namespace"].(string)
		if !isText && metadata["namespace"] != nil {
			t.Fatalf("passed with namespace %v", metadata["namespace"])
		}
		if !clusterScoped(u.GroupVersionKind().GroupKind()) && namespace != "" && namespace != "shop" && !strings.HasPrefix(namespace, "shop-") {
			t.Fatalf("passed into %q", namespace)
		}
	})
}
