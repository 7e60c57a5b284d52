package plan

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"atoll.dev/atoll/internal/content"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/policy"
	"atoll.dev/atoll/internal/report"
	"atoll.dev/atoll/internal/syncoption"
)

// identity is what makes two objects the same, whatever their version.
type identity struct {
	schema.GroupKind
	namespace, name string
}

// object is one object as a cluster is asked for it. A Secret has references in
// the place of its values.
type object struct {
	ref      report.ObjectRef
	manifest map[string]any
}

func (o object) identity() identity {
	return identity{schema.GroupKind{Group: o.ref.Group, Kind: o.ref.Kind}, o.ref.Namespace, o.ref.Name}
}

func (o object) secret() bool { return o.ref.Group == "" && o.ref.Kind == "Secret" }

// runs tells that an entry asks for objects.
func runs(e *desired.Entry) bool { return e != nil && !e.Withdrawn && !e.Hold }

// objects are those that an entry asks for, in the order of its content.
func objects(e *desired.Entry, b content.Bundle) ([]object, error) {
	reference := func(ref string) ([]byte, error) { return []byte(ref), nil }
	resolved, err := b.Resolve(e.Bindings, reference)
	if err != nil {
		return nil, fmt.Errorf("bind the objects of %s: %w", e.Revision, err)
	}
	scope := policy.HubScope(resolved)
	all := make([]object, len(resolved))
	for i, u := range resolved {
		all[i] = object{ref: refOf(u, e.Namespace, scope), manifest: u.Object}
	}
	return all, nil
}

func refOf(u *unstructured.Unstructured, namespace string, scope policy.Scope) report.ObjectRef {
	gvk := u.GroupVersionKind()
	ref := report.ObjectRef{Group: gvk.Group, Version: gvk.Version, Kind: gvk.Kind, Namespace: u.GetNamespace(), Name: u.GetName()}
	if namespaced, _ := scope(gvk.GroupKind()); namespaced && ref.Namespace == "" {
		ref.Namespace = namespace
	}
	return ref
}

// compare lists what becomes of each object, deletions first. Every field is
// told, secret references too: what is shown of it is limited later.
func compare(before, after []object, keep syncoption.Keep) []Object {
	was, is := map[identity]object{}, map[identity]bool{}
	var gone []object
	for _, o := range before {
		was[o.identity()] = o
	}
	for _, o := range after {
		is[o.identity()] = true
	}
	for _, o := range before {
		if !is[o.identity()] {
			gone = append(gone, o)
		}
	}
	deletes, keeps := divide(gone, keep)
	var changes, creates []Object
	for _, o := range after {
		old, there := was[o.identity()]
		if !there {
			creates = append(creates, Object{Ref: o.ref, Action: Create})
			continue
		}
		if fields := differ(named(old), named(o), nil); len(fields) > 0 {
			changes = append(changes, Object{Ref: o.ref, Action: Change, Fields: fields, FieldCount: len(fields)})
		}
	}
	return slices.Concat(deletes, keeps, changes, creates)
}

// divide tells what is deleted from what stays when it is no longer asked for.
func divide(gone []object, keep syncoption.Keep) (deletes, keeps []Object) {
	var stay []object
	for _, o := range gone {
		if syncoption.KeptLive(o.manifest)&keep != 0 {
			stay = append(stay, o)
		}
	}
	for _, o := range gone {
		if syncoption.KeptLive(o.manifest)&keep != 0 || slices.ContainsFunc(stay, o.bears) {
			keeps = append(keeps, Object{Ref: o.ref, Action: Keep})
		} else {
			deletes = append(deletes, Object{Ref: o.ref, Action: Delete})
		}
	}
	return deletes, keeps
}

// bears tells a namespace or a definition with which the other would go.
func (o object) bears(other object) bool {
	switch {
	case o.ref.Group == "" && o.ref.Kind == "Namespace":
		return o.ref.Name == other.ref.Namespace
	case o.ref.Group == "apiextensions.k8s.io" && o.ref.Kind == "CustomResourceDefinition":
		_, group, _ := strings.Cut(o.ref.Name, ".")
		return group == other.ref.Group
	}
	return false
}

// named is an object's manifest without its namespace, which its identity has:
// to write down the one that it had anyway changes nothing.
func named(o object) map[string]any {
	metadata, ok := o.manifest["metadata"].(map[string]any)
	if _, has := metadata["namespace"]; !ok || !has {
		return o.manifest
	}
	manifest := map[string]any{}
	for k, v := range o.manifest {
		manifest[k] = v
	}
	rest := map[string]any{}
	for k, v := range metadata {
		if k != "namespace" {
			rest[k] = v
		}
	}
	manifest["metadata"] = rest
	return manifest
}

// settings are the rules of delivery that differ.
func settings(before, after *desired.Entry) []Field {
	return differ(rules(before), rules(after), nil)
}

// rules are all of an entry but what names it, and what its objects tell.
func rules(e *desired.Entry) map[string]any {
	data, err := json.Marshal(e)
	m := map[string]any{}
	if err != nil || json.Unmarshal(data, &m) != nil {
		panic(fmt.Sprintf("an entry cannot be written as JSON: %v", err)) // it is plain data
	}
	for _, told := range []string{"key", "uid", "generation", "revision", "content", "bindings"} {
		delete(m, told)
	}
	m["lateBinding"] = e.Bindings != nil
	return m
}
