package hub

import (
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/apiserver"
)

// withdrawal keeps an application that shall take its objects with it from the
// write on that says so. The intent loop takes the finalizer away again, and
// gives it to those that were written while no hub guarded them.
var withdrawal = &apiserver.Guard{
	Resource:  v1alpha1.GroupVersion.WithResource("applications"),
	Finalizer: v1alpha1.FinalizerWithdraw,
	Needs: func(app *unstructured.Unstructured) bool {
		onDelete, _, _ := unstructured.NestedString(app.Object, "spec", "onDelete")
		return onDelete == string(v1alpha1.Delete)
	},
}

// unguarded has the deletion of an application wait that shall take its objects
// with it and lacks its finalizer, which the intent loop is about to set: it would
// be gone, and its objects would stay. It answers 429, which clients repeat by
// themselves.
func unguarded(w apiserver.Write) error {
	app := &v1alpha1.Application{}
	if w.Kind.Kind != "Application" || w.Old == nil || runtime.DefaultUnstructuredConverter.FromUnstructured(w.Old.Object, app) != nil {
		return nil
	}
	if app.Spec.OnDelete != v1alpha1.Delete || app.DeletionTimestamp != nil || slices.Contains(app.Finalizers, v1alpha1.FinalizerWithdraw) {
		return nil
	}
	if len(app.Status.Clusters)+len(app.Status.Withdrawing) == 0 {
		return nil
	}
	const seconds = 1
	return apierrors.NewTooManyRequests("the hub is about to take note of onDelete: Delete; delete it again in a second", seconds)
}
