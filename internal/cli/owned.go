package cli

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/typed"

	"atoll.dev/atoll/api/v1alpha1"
)

// owned is the part of an object that a manager applied before. Applying it
// again with changes keeps what the new flags do not speak of, without claiming
// fields that somebody else set.
func owned(live *unstructured.Unstructured, manager string) (*unstructured.Unstructured, error) {
	kept := map[string]any{}
	for _, entry := range live.GetManagedFields() {
		if entry.Manager != manager || entry.Operation != metav1.ManagedFieldsOperationApply || entry.Subresource != "" || entry.FieldsV1 == nil {
			continue
		}
		fields := &fieldpath.Set{}
		if err := fields.FromJSON(entry.FieldsV1.GetRawReader()); err != nil {
			return nil, fmt.Errorf("read the managed fields of %s: %w", live.GetName(), err)
		}
		value, err := typed.DeducedParseableType.FromUnstructured(live.Object)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", live.GetName(), err)
		}
		if content, ok := value.ExtractItems(fields.Leaves()).AsValue().Unstructured().(map[string]any); ok {
			kept = content
		}
	}
	u := &unstructured.Unstructured{Object: kept}
	if _, ok := kept["spec"].(map[string]any); !ok {
		kept["spec"] = map[string]any{}
	}
	u.SetGroupVersionKind(live.GroupVersionKind())
	u.SetNamespace(live.GetNamespace())
	u.SetName(live.GetName())
	return u, nil
}

// newObject is an object to apply.
func newObject(k kind, project, name string, spec map[string]any) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: map[string]any{"spec": spec}}
	u.SetAPIVersion(v1alpha1.GroupVersion.String())
	u.SetKind(k.name)
	u.SetName(name)
	u.SetNamespace(project)
	return u
}
