package apply

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/cespare/xxhash/v2"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"atoll.dev/atoll/internal/content"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/drift"
	"atoll.dev/atoll/internal/phase"
	"atoll.dev/atoll/internal/policy"
	"atoll.dev/atoll/internal/report"
	"atoll.dev/atoll/internal/syncoption"
)

// rendered is one object ready to be applied.
type rendered struct {
	id       ID
	ref      report.ObjectRef
	kind     kind
	source   *content.Object
	body     []byte
	hash     uint64
	governed *drift.Governed // what it takes over, when it is a scaler
	mark     phase.Mark
	options  syncoption.Options
	stage    int // of the delivery; set when it is laid out
}

// rendering is what became of an entry's content.
type rendering struct {
	objects  []rendered
	unmapped map[ID]report.ObjectRef
	// unmappedMarks are the places of what is unmapped in the order.
	unmappedMarks map[ID]phase.Mark
	problems      []report.Problem
}

// render resolves, places and checks every object, one at a time: two thousand
// decoded objects at once would be most of the agent's memory.
func (e *Engine) render(ctx context.Context, want desired.Entry, bundle content.Bundle, values Values) (rendering, error) {
	r := rendering{unmapped: map[ID]report.ObjectRef{}, unmappedMarks: map[ID]phase.Mark{}}
	scope := bundledScopes(bundle)
	for i := range bundle.Objects {
		source := &bundle.Objects[i]
		k, err := e.kinds.Find(ctx, gvkOf(source.Ref))
		served := err == nil
		if err != nil && !errors.Is(err, errNoKind) {
			return rendering{}, err
		}
		if !served {
			gk := schema.GroupKind{Group: source.Ref.Group, Kind: source.Ref.Kind}
			k = kind{gvk: gvkOf(source.Ref), namespaced: scope[gk]}
		}
		obj, err := renderOne(source, want, k, values)
		if err != nil {
			r.problems = append(r.problems, report.Problem{Object: source.Ref, Reason: "Invalid", Message: err.Error()})
			continue
		}
		id := idOf(obj)
		if refused := refusals(want, obj, k, served || scope.knows(id.GroupKind())); len(refused) > 0 {
			r.problems = append(r.problems, refused...)
			continue
		}
		mark, err := phase.Of(obj.Object)
		options, bad := syncoption.Of(obj.Object)
		if err = errors.Join(err, bad); err != nil {
			r.problems = append(r.problems, report.Problem{Object: source.Ref, Reason: "Invalid", Message: clip(err.Error())})
			continue
		}
		if !served {
			r.unmapped[id], r.unmappedMarks[id] = id.Ref(source.Ref.Version), mark
			continue
		}
		item, err := finish(obj, id, k, source)
		if err != nil {
			return rendering{}, err
		}
		item.mark, item.options = mark, options
		r.objects = append(r.objects, item)
	}
	return r, nil
}

// renderOne is one manifest as it is sent: bound, with its secret values, a
// namespace and the ApplySet label.
func renderOne(source *content.Object, want desired.Entry, k kind, values Values) (*unstructured.Unstructured, error) {
	obj, err := source.Resolve(want.Bindings, values)
	if err != nil {
		return nil, err
	}
	switch {
	case !k.namespaced && k.gvr.Resource != "":
		obj.SetNamespace("")
	case k.namespaced && obj.GetNamespace() == "":
		obj.SetNamespace(want.Namespace)
	}
	metadata, ok := obj.Object["metadata"].(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%s has no metadata", source.Ref)
	}
	labels, ok := metadata["labels"].(map[string]any)
	if !ok {
		labels = map[string]any{}
		metadata["labels"] = labels
	}
	labels[partOfLabel] = applySetID(want.Key)
	return obj, nil
}

func finish(obj *unstructured.Unstructured, id ID, k kind, source *content.Object) (rendered, error) {
	body, err := json.Marshal(obj.Object)
	if err != nil {
		return rendered{}, fmt.Errorf("encode %s: %w", id, err)
	}
	r := rendered{id: id, ref: id.Ref(k.gvk.Version), kind: k, source: source, body: body, hash: max(xxhash.Sum64(body), 1)}
	if g, ok := drift.Governs(obj.Object); ok {
		r.governed = &g
	}
	return r, nil
}

// refusals asks the project's policy, the second time after the hub did.
func refusals(want desired.Entry, obj *unstructured.Unstructured, k kind, known bool) []report.Problem {
	scope := func(schema.GroupKind) (bool, bool) { return k.namespaced, known }
	var out []report.Problem
	for _, v := range policy.Check(want.Policy, want.Key.Project, want.Namespace, []*unstructured.Unstructured{obj}, scope) {
		if v.Reason == policy.UnknownKind {
			continue // its definition may still arrive; it is checked again then
		}
		out = append(out, report.Problem{Object: v.Object, Reason: "PolicyRefused", Message: v.Reason + ": " + v.Message})
	}
	return out
}

// scopes are the kinds that the content itself defines; true is namespaced.
type scopes map[schema.GroupKind]bool

func (s scopes) knows(gk schema.GroupKind) bool { _, ok := s[gk]; return ok }

func bundledScopes(bundle content.Bundle) scopes {
	s := scopes{}
	for _, o := range bundle.Objects {
		if o.Ref.Group != crdKind.Group || o.Ref.Kind != crdKind.Kind {
			continue
		}
		var crd struct {
			Spec struct {
				Group, Scope string
				Names        struct{ Kind string }
			}
		}
		if json.Unmarshal(o.Manifest, &crd) == nil {
			s[schema.GroupKind{Group: crd.Spec.Group, Kind: crd.Spec.Names.Kind}] = crd.Spec.Scope == "Namespaced"
		}
	}
	return s
}

func gvkOf(r report.ObjectRef) schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: r.Group, Version: r.Version, Kind: r.Kind}
}

func idOf(obj *unstructured.Unstructured) ID {
	gvk := obj.GroupVersionKind()
	return ID{Group: gvk.Group, Kind: gvk.Kind, Namespace: obj.GetNamespace(), Name: obj.GetName()}
}
