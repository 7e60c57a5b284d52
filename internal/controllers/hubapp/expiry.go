package hubapp

import (
	"context"
	"fmt"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/managed"
)

// Expiry takes back overrides whose time is over, of objects of one kind. That the
// application's word counts again does not depend on it: their time says so.
type Expiry struct {
	Client client.Client
	Now    func() time.Time
	// New is an empty object of the kind.
	New func() client.Object
}

// Overridden tells whether there is anything to take back.
func Overridden(o client.Object) bool {
	_, given := managed.OverrideOf(o.GetAnnotations())
	return given
}

// Reconcile looks at one object.
func (x *Expiry) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	o := x.New()
	if err := x.Client.Get(ctx, req.NamespacedName, o); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	given, ok := managed.OverrideOf(o.GetAnnotations())
	switch left := given.Until.Sub(x.Now()); {
	case !ok:
		return ctrl.Result{}, nil
	case given.Holds(x.Now()):
		return ctrl.Result{RequeueAfter: left}, nil
	}
	before, is := o.DeepCopyObject().(client.Object)
	if !is {
		return ctrl.Result{}, nil
	}
	annotations := o.GetAnnotations()
	for _, name := range []string{v1alpha1.AnnotationPauseUntil, v1alpha1.AnnotationOverrideReason, v1alpha1.AnnotationOverrideBy} {
		delete(annotations, name)
	}
	o.SetAnnotations(annotations)
	// Just the object that was read: somebody may be renewing it.
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := x.Client.Patch(ctx, o, patch); client.IgnoreNotFound(err) != nil {
		return ctrl.Result{}, fmt.Errorf("take back the override of %s: %w", req, err)
	}
	return ctrl.Result{}, nil
}
