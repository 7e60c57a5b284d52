package compliance

import (
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"

	"atoll.dev/atoll/internal/policy"
	"atoll.dev/atoll/internal/report"
)

// OwnerKey is the label or annotation that names who answers for an object, or, on
// a Namespace, for what is in it.
const OwnerKey = "atoll.dev/owner"

// namespaceName is the label that the API server gives every Namespace.
const namespaceName = "kubernetes.io/metadata.name"

// metadata is as much of an object's as is judged by.
type metadata struct {
	labels, annotations map[string]string
	// object is the Namespace as CEL sees it.
	object map[string]any
}

// object is one object with what an API server would know of its request.
type object struct {
	ref      report.ObjectRef
	resource schema.GroupVersionResource
	manifest *unstructured.Unstructured
	// namespace is that of the request: a Namespace's is its own name.
	namespace string
	// attributes and request describe the creation, to rules and to expressions.
	attributes admission.Attributes
	request    map[string]any
}

func (o *object) isNamespace() bool { return o.ref.Group == "" && o.ref.Kind == "Namespace" }

// world is everything that an evaluation looks at.
type world struct {
	objects    []object
	namespaces map[string]metadata
	user       string
	kinds      kinds
	params     map[schema.GroupKind][]*unstructured.Unstructured
}

// kinds tells the resource of a kind, and whether it is in namespaces.
type kinds struct {
	scope   policy.Scope
	plurals map[schema.GroupKind]string
}

func kindsOf(objects []*unstructured.Unstructured) kinds {
	k := kinds{scope: policy.HubScope(objects), plurals: map[schema.GroupKind]string{}}
	for _, o := range objects {
		if o.GetKind() != "CustomResourceDefinition" {
			continue
		}
		group, _, _ := unstructured.NestedString(o.Object, "spec", "group")
		kind, _, _ := unstructured.NestedString(o.Object, "spec", "names", "kind")
		plural, _, _ := unstructured.NestedString(o.Object, "spec", "names", "plural")
		k.plurals[schema.GroupKind{Group: group, Kind: kind}] = plural
	}
	return k
}

func (k kinds) resource(gvk schema.GroupVersionKind) schema.GroupVersionResource {
	if plural := k.plurals[gvk.GroupKind()]; plural != "" {
		return gvk.GroupVersion().WithResource(plural)
	}
	plural, _ := meta.UnsafeGuessKindToResource(gvk)
	return plural
}

func (k kinds) namespaced(gk schema.GroupKind) bool {
	namespaced, _ := k.scope(gk)
	return namespaced
}

// look prepares objects; those without a namespace go to the one given.
func look(set *Set, objects []*unstructured.Unstructured, o Options) *world {
	all := append(append([]*unstructured.Unstructured{}, set.params...), objects...)
	w := &world{
		objects:    make([]object, len(objects)),
		namespaces: map[string]metadata{},
		user:       o.User,
		kinds:      kindsOf(all),
		params:     map[schema.GroupKind][]*unstructured.Unstructured{},
	}
	for i, u := range objects {
		w.objects[i] = w.object(u, o.Namespace)
	}
	for _, u := range all { // the objects after what came with the policies
		if u.GetKind() == "Namespace" && u.GroupVersionKind().Group == "" {
			w.namespaces[u.GetName()] = namespaceOf(u)
		}
	}
	wanted := set.paramKinds()
	for _, u := range all {
		if gk := u.GroupVersionKind().GroupKind(); wanted[gk] {
			w.params[gk] = append(w.params[gk], w.object(u, o.Namespace).manifest)
		}
	}
	return w
}

func (w *world) object(u *unstructured.Unstructured, namespace string) object {
	gvk := u.GroupVersionKind()
	at := u.GetNamespace()
	switch namespaced := w.kinds.namespaced(gvk.GroupKind()); {
	case namespaced && at == "":
		at = namespace
		u = u.DeepCopy()
		u.SetNamespace(at)
	case !namespaced:
		at = ""
	}
	o := object{
		ref:       report.ObjectRef{Group: gvk.Group, Version: gvk.Version, Kind: gvk.Kind, Namespace: at, Name: u.GetName()},
		resource:  w.kinds.resource(gvk),
		manifest:  u,
		namespace: at,
	}
	if o.isNamespace() {
		o.namespace = o.ref.Name
		if u.GetLabels()[namespaceName] == "" {
			o.manifest = u.DeepCopy()
			o.manifest.SetLabels(named(u.GetLabels(), u.GetName()))
		}
	}
	o.attributes = o.in(o.resource)
	return o
}

func named(labels map[string]string, name string) map[string]string {
	if labels == nil {
		labels = map[string]string{}
	}
	labels[namespaceName] = name
	return labels
}

// namespaceOf is a Namespace that was given.
func namespaceOf(u *unstructured.Unstructured) metadata {
	labels := named(u.GetLabels(), u.GetName())
	m := metadata{labels: labels, annotations: u.GetAnnotations()}
	m.object = namespaceObject(u.GetName(), labels, u.GetAnnotations())
	return m
}

// namespace is what is known of one: of one that was not given only its name,
// which is a label that every Namespace has.
func (w *world) namespace(name string) metadata {
	if m, ok := w.namespaces[name]; ok {
		return m
	}
	labels := named(nil, name)
	return metadata{labels: labels, object: namespaceObject(name, labels, nil)}
}

func namespaceObject(name string, labels, annotations map[string]string) map[string]any {
	m := map[string]any{"name": name, "labels": generic(labels)}
	if len(annotations) > 0 {
		m["annotations"] = generic(annotations)
	}
	return map[string]any{
		"metadata": m,
		"spec":     map[string]any{"finalizers": []any{"kubernetes"}},
		"status":   map[string]any{"phase": "Active"},
	}
}

func generic(m map[string]string) map[string]any {
	out := make(map[string]any, len(m))
	for k, v := range m {
		out[k] = v
	}
	return out
}

// owner answers for an object.
func (w *world) owner(o *object) string {
	ns := w.namespaces[o.namespace]
	for _, m := range []map[string]string{o.manifest.GetAnnotations(), o.manifest.GetLabels(), ns.annotations, ns.labels} {
		if owner := strings.TrimSpace(m[OwnerKey]); owner != "" {
			return owner
		}
	}
	return ""
}
