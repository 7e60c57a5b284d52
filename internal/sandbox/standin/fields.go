package standin

import (
	"errors"
	"fmt"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured/unstructuredscheme"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/client-go/applyconfigurations"
	"k8s.io/client-go/kubernetes/scheme"

	"atoll.dev/atoll/api/v1alpha1"
)

// managers are the field managers of every kind, shared by all members: the
// schemas behind them are large, and read only.
var managers sync.Map // schema.GroupVersionKind to *managedfields.FieldManager

var typed = sync.OnceValue(func() managedfields.TypeConverter { return applyconfigurations.NewTypeConverter(scheme.Scheme) })

func managerOf(gvk schema.GroupVersionKind) (*managedfields.FieldManager, error) {
	if found, ok := managers.Load(gvk); ok {
		return found.(*managedfields.FieldManager), nil //nolint:forcetypeassert // only these are stored
	}
	converter := managedfields.NewDeducedTypeConverter()
	if scheme.Scheme.Recognizes(gvk) {
		converter = typed()
	}
	made, err := managedfields.NewDefaultCRDFieldManager(converter, asIs{}, unstructuredscheme.NewUnstructuredDefaulter(),
		unstructuredscheme.NewUnstructuredCreator(), gvk, gvk.GroupVersion(), "", nil)
	if err != nil {
		return nil, fmt.Errorf("manage the fields of %s: %w", gvk, err)
	}
	found, _ := managers.LoadOrStore(gvk, made)
	return found.(*managedfields.FieldManager), nil //nolint:forcetypeassert // only these are stored
}

// asIs converts nothing: a member stores each kind in the version it was sent in.
type asIs struct{}

func (asIs) Convert(in, out, _ any) error {
	return fmt.Errorf("convert %T to %T: versions are not converted here", in, out)
}

func (asIs) ConvertToVersion(in runtime.Object, _ runtime.GroupVersioner) (runtime.Object, error) {
	return in, nil
}

func (asIs) ConvertFieldLabel(_ schema.GroupVersionKind, label, value string) (string, string, error) {
	return label, value, nil
}

// unmanaged objects carry no managedFields: those that agents keep for
// themselves. Nobody looks at them there, and tracking the fields of large
// Secrets would be most of a member's work.
func unmanaged(u *unstructured.Unstructured) bool {
	return u.GetNamespace() == v1alpha1.SystemNamespace && (u.GetKind() == "Secret" || u.GetKind() == "Lease")
}

// managed is next with the fields that differ from live owned by manager.
// Neither may be used afterwards.
func managed(live, next *unstructured.Unstructured, manager string) (*unstructured.Unstructured, error) {
	dropEmpty(next)
	if unmanaged(next) {
		return next, nil
	}
	fields, err := managerOf(next.GroupVersionKind())
	if err != nil {
		return nil, err
	}
	out, err := fields.Update(live, next, manager)
	if err != nil {
		return nil, fmt.Errorf("update %s/%s: %w", next.GetNamespace(), next.GetName(), err)
	}
	return asUnstructured(out)
}

// applied is live after a server-side apply of patch.
func applied(live, patch *unstructured.Unstructured, manager string, force bool) (*unstructured.Unstructured, error) {
	fields, err := managerOf(patch.GroupVersionKind())
	if err != nil {
		return nil, err
	}
	out, err := fields.Apply(live, patch, manager, force)
	var status apierrors.APIStatus
	switch {
	case errors.As(err, &status):
		return nil, err
	case err != nil:
		return nil, apierrors.NewBadRequest(err.Error())
	}
	u, err := asUnstructured(out)
	if err == nil {
		dropEmpty(u)
	}
	return u, err
}

// dropEmpty leaves out the maps that a real API server would not store empty.
func dropEmpty(u *unstructured.Unstructured) {
	metadata, _ := u.Object["metadata"].(map[string]any)
	for _, in := range []map[string]any{u.Object, metadata} {
		for _, field := range []string{"data", "binaryData", "labels", "annotations"} {
			if m, ok := in[field].(map[string]any); ok && len(m) == 0 {
				delete(in, field)
			}
		}
	}
}

func asUnstructured(o runtime.Object) (*unstructured.Unstructured, error) {
	u, ok := o.(*unstructured.Unstructured)
	if !ok {
		return nil, fmt.Errorf("%T came back where an unstructured object was given", o)
	}
	return u, nil
}
