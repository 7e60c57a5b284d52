package override

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"sigs.k8s.io/yaml"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/content"
	"atoll.dev/atoll/internal/report"
)

// Patch is one that was read.
type Patch struct {
	// Operations are JSON 6902's; nil for one that is merged.
	Operations jsonpatch.Patch
	merged     []byte
}

// ParsePatch reads a patch: a list is of JSON 6902 operations, a map is merged.
func ParsePatch(text string) (Patch, error) {
	data, err := yaml.YAMLToJSONStrict([]byte(text))
	if err != nil {
		return Patch{}, fmt.Errorf("is no YAML: %w", err)
	}
	switch data = bytes.TrimSpace(data); {
	case len(data) > content.MaxObject:
		return Patch{}, fmt.Errorf("has %d bytes without its aliases, more than %d", len(data), content.MaxObject)
	case data[0] == '{':
		return Patch{merged: data}, checkMerged(data)
	case data[0] != '[':
		return Patch{}, errors.New("is neither a map, which is merged, nor a list of JSON 6902 operations")
	}
	operations, err := jsonpatch.DecodePatch(data)
	if err != nil {
		return Patch{}, fmt.Errorf("is no list of JSON 6902 operations: %w", err)
	}
	if len(operations) == 0 {
		return Patch{}, errors.New("changes nothing")
	}
	return Patch{Operations: operations}, checkOperations(operations)
}

// checkMerged refuses what would not be done where it is read over quickly.
func checkMerged(data []byte) error {
	var fields map[string]any
	if err := json.Unmarshal(data, &fields); err != nil {
		return fmt.Errorf("is no map: %w", err)
	}
	if len(fields) == 0 {
		return errors.New("changes nothing")
	}
	if _, given := fields["$patch"]; given {
		return errors.New("$patch on a whole object is not for overrides: leave the object out at the source, or deliver it as an application of its own")
	}
	return nil
}

func checkOperations(operations jsonpatch.Patch) error {
	for i, o := range operations {
		switch o.Kind() {
		case "add", "remove", "replace", "test", "move":
		case "copy":
			// Copies of copies grow without bound, and nobody needs them here.
			return fmt.Errorf("operation %d: copy is not allowed; write out what is to be there", i)
		default:
			return fmt.Errorf("operation %d: op must be add, remove, replace, move or test", i)
		}
		if _, err := o.Path(); err != nil {
			return fmt.Errorf("operation %d: give a path such as /spec/replicas", i)
		}
	}
	return nil
}

func patchAll(objects []content.Object, p v1alpha1.ObjectPatch) error {
	patch, err := ParsePatch(p.Patch)
	if err != nil {
		return fmt.Errorf(".patch: %w", err)
	}
	matched := false
	for i := range objects {
		if !matches(p.Target, objects[i].Ref) {
			continue
		}
		matched = true
		if objects[i], err = patch.on(objects[i]); err != nil {
			return fmt.Errorf(": %s %w", objects[i].Ref, err)
		}
	}
	if !matched {
		return fmt.Errorf(".target: there is no %s", describe(p.Target))
	}
	return nil
}

func (p Patch) on(o content.Object) (content.Object, error) {
	var patched []byte
	var err error
	switch meta := lookup(schema.GroupVersionKind{Group: o.Ref.Group, Version: o.Ref.Version, Kind: o.Ref.Kind}); {
	case p.Operations != nil:
		patched, err = p.Operations.Apply(o.Manifest)
	case meta == nil:
		patched, err = jsonpatch.MergePatch(o.Manifest, p.merged)
	default:
		patched, err = strategicpatch.StrategicMergePatchUsingLookupPatchMeta(o.Manifest, p.merged, meta)
	}
	if err != nil {
		return o, fmt.Errorf("does not take the patch: %w", err)
	}
	return o.Rewritten(patched)
}

func matches(t v1alpha1.PatchTarget, r report.ObjectRef) bool {
	return t.Kind == r.Kind && (t.Group == "" || t.Group == r.Group) && (t.Name == "" || t.Name == r.Name) && (t.Namespace == "" || t.Namespace == r.Namespace)
}

func describe(t v1alpha1.PatchTarget) string {
	return report.ObjectRef{Group: t.Group, Kind: t.Kind, Name: t.Name, Namespace: t.Namespace}.String()
}
