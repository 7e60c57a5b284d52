// Package defaulting fills in what an API server would: the fields that the types
// of Kubernetes default, and nothing that an admission controller adds. It reads an
// object into the type of its version, as an API server does before its policies
// see it, so that fields which the type does not have are gone as well.
//
// Kinds that Kubernetes does not have stay as they are: only a cluster knows the
// defaults of its own definitions.
package defaulting

import (
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/kubernetes/pkg/api/legacyscheme"

	// The kinds of which there are manifests.
	_ "k8s.io/kubernetes/pkg/apis/apps/install"
	_ "k8s.io/kubernetes/pkg/apis/autoscaling/install"
	_ "k8s.io/kubernetes/pkg/apis/batch/install"
	_ "k8s.io/kubernetes/pkg/apis/core/install"
	_ "k8s.io/kubernetes/pkg/apis/networking/install"
	_ "k8s.io/kubernetes/pkg/apis/policy/install"
	_ "k8s.io/kubernetes/pkg/apis/rbac/install"
	_ "k8s.io/kubernetes/pkg/apis/scheduling/install"
	_ "k8s.io/kubernetes/pkg/apis/storage/install"
)

// Fill changes an object to what an API server would take it for. An object that
// its type cannot hold is refused as an API server would refuse it.
func Fill(u *unstructured.Unstructured) error {
	gvk := u.GroupVersionKind()
	if !legacyscheme.Scheme.Recognizes(gvk) {
		return nil
	}
	typed, err := legacyscheme.Scheme.New(gvk)
	if err != nil {
		return fmt.Errorf("make a %s: %w", gvk.Kind, err)
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, typed); err != nil {
		return fmt.Errorf("is no %s of %s: %w", gvk.Kind, gvk.GroupVersion(), err)
	}
	legacyscheme.Scheme.Default(typed)
	filled, err := runtime.DefaultUnstructuredConverter.ToUnstructured(typed)
	if err != nil {
		return fmt.Errorf("read the %s back: %w", gvk.Kind, err)
	}
	u.Object = filled
	u.SetGroupVersionKind(gvk)
	return nil
}
