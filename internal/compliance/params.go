package compliance

import (
	"fmt"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// noParams stands for a policy that takes none, or a binding that gives none.
var noParams = []*unstructured.Unstructured{nil}

// paramsOf are the parameters with which a policy judges an object: it is evaluated
// once for each. None at all means that it is not evaluated.
func (w *world) paramsOf(k *admissionv1.ParamKind, b binding, o *object) ([]*unstructured.Unstructured, error) {
	r := b.Spec.ParamRef
	if k == nil || r == nil {
		return noParams, nil
	}
	gk := schema.FromAPIVersionAndKind(k.APIVersion, k.Kind).GroupKind()
	namespace := ""
	switch namespaced := w.kinds.namespaced(gk); {
	case namespaced && r.Namespace != "":
		namespace = r.Namespace
	case namespaced && o.namespace == "":
		return nil, fmt.Errorf("cannot use namespaced paramRef in policy binding that matches cluster-scoped resources")
	case namespaced:
		namespace = o.namespace
	case r.Namespace != "":
		return nil, fmt.Errorf("paramRef.namespace must not be provided for a cluster-scoped `paramKind`")
	}
	var found []*unstructured.Unstructured
	for _, u := range w.params[gk] {
		named := r.Name != "" && u.GetName() == r.Name
		selected := b.params != nil && b.params.Matches(labels.Set(u.GetLabels()))
		if u.GetNamespace() == namespace && (named || selected) {
			found = append(found, u)
		}
	}
	if len(found) == 0 && *r.ParameterNotFoundAction == admissionv1.DenyAction {
		return nil, fmt.Errorf("no params found for policy binding with `Deny` parameterNotFoundAction")
	}
	return found, nil
}
