package standin

import (
	"cmp"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
)

// kindOf is a kind as discovery names it.
type kindOf struct {
	kind, resource string
	namespaced     bool
}

var (
	namespacesResource = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
	nodesResource      = schema.GroupVersionResource{Version: "v1", Resource: "nodes"}
	definitions        = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
)

// clusterScoped are the built-in kinds that lie in no namespace.
var clusterScoped = map[string]bool{
	"APIService": true, "CSIDriver": true, "CSINode": true, "CertificateSigningRequest": true, "ClusterRole": true,
	"ClusterRoleBinding": true, "ClusterTrustBundle": true, "ComponentStatus": true, "CustomResourceDefinition": true,
	"DeviceClass": true, "FlowSchema": true, "IPAddress": true, "IngressClass": true, "MutatingAdmissionPolicy": true,
	"MutatingAdmissionPolicyBinding": true, "MutatingWebhookConfiguration": true, "Namespace": true, "Node": true,
	"PersistentVolume": true, "PriorityClass": true, "PriorityLevelConfiguration": true, "ResourceSlice": true,
	"RuntimeClass": true, "SelfSubjectAccessReview": true, "SelfSubjectReview": true, "SelfSubjectRulesReview": true,
	"ServiceCIDR": true, "StorageClass": true, "StorageVersion": true, "StorageVersionMigration": true,
	"SubjectAccessReview": true, "TokenReview": true, "ValidatingAdmissionPolicy": true,
	"ValidatingAdmissionPolicyBinding": true, "ValidatingWebhookConfiguration": true, "VolumeAttachment": true,
	"VolumeAttributesClass": true,
}

// builtIn are the kinds of client-go's scheme that can be listed.
var builtIn = sync.OnceValue(func() map[schema.GroupVersion][]kindOf {
	all := map[schema.GroupVersion][]kindOf{
		definitions.GroupVersion(): {{kind: "CustomResourceDefinition", resource: definitions.Resource}},
	}
	for gvk := range scheme.Scheme.AllKnownTypes() {
		if gvk.Version == "__internal" || !scheme.Scheme.Recognizes(gvk.GroupVersion().WithKind(gvk.Kind+"List")) {
			continue
		}
		plural, _ := meta.UnsafeGuessKindToResource(gvk)
		all[gvk.GroupVersion()] = append(all[gvk.GroupVersion()], kindOf{gvk.Kind, plural.Resource, !clusterScoped[gvk.Kind]})
	}
	for _, kinds := range all {
		slices.SortFunc(kinds, func(a, b kindOf) int { return cmp.Compare(a.resource, b.resource) })
	}
	return all
})

// served is the kind behind a resource, if there is one.
func (m *Member) served(gvr schema.GroupVersionResource) (kindOf, bool) {
	for _, kinds := range [][]kindOf{builtIn()[gvr.GroupVersion()], m.defined[gvr.GroupVersion()]} {
		for _, k := range kinds {
			if k.resource == gvr.Resource {
				return k, true
			}
		}
	}
	return kindOf{}, false
}

// define serves what a definition names from now on.
func (m *Member) define(definition *unstructured.Unstructured) {
	group, _, _ := unstructured.NestedString(definition.Object, "spec", "group")
	kind, _, _ := unstructured.NestedString(definition.Object, "spec", "names", "kind")
	plural, _, _ := unstructured.NestedString(definition.Object, "spec", "names", "plural")
	scope, _, _ := unstructured.NestedString(definition.Object, "spec", "scope")
	versions, _, _ := unstructured.NestedSlice(definition.Object, "spec", "versions")
	for _, v := range versions {
		version, _ := v.(map[string]any)
		name, _ := version["name"].(string)
		gv := schema.GroupVersion{Group: group, Version: name}
		if _, known := m.served(gv.WithResource(plural)); !known && name != "" {
			m.defined[gv] = append(m.defined[gv], kindOf{kind, plural, scope == "Namespaced"})
		}
	}
}

// undefine drops what a definition named, with every object of it.
func (m *Member) undefine(definition *unstructured.Unstructured) {
	group, _, _ := unstructured.NestedString(definition.Object, "spec", "group")
	plural, _, _ := unstructured.NestedString(definition.Object, "spec", "names", "plural")
	for gv, kinds := range m.defined {
		if gv.Group == group {
			m.defined[gv] = slices.DeleteFunc(kinds, func(k kindOf) bool { return k.resource == plural })
		}
	}
	for gvr, r := range m.resources {
		if gvr.Group == group && gvr.Resource == plural {
			for _, key := range slices.Clone(r.keys()) {
				if r.records[key] != nil {
					m.gone(gvr, r.records[key])
				}
			}
		}
	}
}

func (m *Member) groupVersions() []schema.GroupVersion {
	var all []schema.GroupVersion
	for gv := range builtIn() {
		all = append(all, gv)
	}
	for gv, kinds := range m.defined {
		if _, known := builtIn()[gv]; !known && len(kinds) > 0 {
			all = append(all, gv)
		}
	}
	slices.SortFunc(all, func(a, b schema.GroupVersion) int { return cmp.Compare(a.String(), b.String()) })
	return all
}

func (m *Member) groupList() *metav1.APIGroupList {
	list := &metav1.APIGroupList{TypeMeta: metav1.TypeMeta{Kind: "APIGroupList", APIVersion: "v1"}}
	for _, gv := range m.groupVersions() {
		if gv.Group == "" {
			continue
		}
		version := metav1.GroupVersionForDiscovery{GroupVersion: gv.String(), Version: gv.Version}
		if n := len(list.Groups); n > 0 && list.Groups[n-1].Name == gv.Group {
			list.Groups[n-1].Versions = append(list.Groups[n-1].Versions, version)
			continue
		}
		list.Groups = append(list.Groups, metav1.APIGroup{
			Name: gv.Group, Versions: []metav1.GroupVersionForDiscovery{version}, PreferredVersion: version,
		})
	}
	return list
}

func (m *Member) resourceList(gv schema.GroupVersion) *metav1.APIResourceList {
	list := &metav1.APIResourceList{TypeMeta: metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"}, GroupVersion: gv.String()}
	for _, kinds := range [][]kindOf{builtIn()[gv], m.defined[gv]} {
		for _, k := range kinds {
			list.APIResources = append(list.APIResources, metav1.APIResource{
				Name: k.resource, SingularName: strings.ToLower(k.kind), Kind: k.kind, Namespaced: k.namespaced,
				Verbs: metav1.Verbs{"create", "delete", "get", "list", "patch", "update", "watch"},
			})
		}
	}
	return list
}
