// Package access makes RBAC objects of the hub of what internal/access decides: a
// ClusterRole for each role, and for each AccessGrant bindings, which go when it
// ends. What somebody else makes of one of them is put back.
package access

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/access"
)

const (
	// finalizer keeps a grant until nobody holds anything by it.
	finalizer = "atoll.dev/access"
	// shown is how many projects a status names.
	shown = 10
	// atMost is how long a grant is left alone that ends some day: the clock which tells
	// when may be set meanwhile, and no timer runs while a machine sleeps.
	atMost = 5 * time.Minute
)

// Reconciler keeps the bindings of grants.
type Reconciler struct {
	Client client.Client
	// Live reads what the cache may not show yet, and what is not worth one.
	Live client.Reader
	// Namespace is the hub's own.
	Namespace string
	Now       func() time.Time
}

// Reconcile keeps one grant.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	g := &v1alpha1.AccessGrant{}
	err := r.Client.Get(ctx, req.NamespacedName, g)
	switch {
	case apierrors.IsNotFound(err):
		return ctrl.Result{}, r.keep(ctx, req.NamespacedName, nil)
	case err != nil:
		return ctrl.Result{}, fmt.Errorf("read grant %s: %w", req, err)
	case g.DeletionTimestamp != nil:
		return ctrl.Result{}, r.end(ctx, g)
	}
	if before := g.DeepCopy(); controllerutil.AddFinalizer(g, finalizer) {
		// As it was read, for a list of finalizers is replaced as a whole.
		patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
		if err := r.Client.Patch(ctx, g, patch); err != nil {
			return ctrl.Result{}, client.IgnoreNotFound(fmt.Errorf("guard grant %s: %w", req, err))
		}
	}
	closed, err := r.closed(ctx, g)
	if err != nil {
		return ctrl.Result{}, err
	}
	plan := access.Make(access.State{Grant: g, Hub: r.Namespace, Closed: closed, Now: r.Now()})
	err = r.keep(ctx, req.NamespacedName, plan.Bindings)
	if err == nil && !told(g) {
		var counts bool
		if counts, err = r.count(ctx, plan.Bindings); err == nil && !counts {
			plan.Reason, plan.Why = access.ReasonPending, "the hub's API has not taken note yet"
			if soon := patience(g, r.Now()); plan.Wake == 0 || soon < plan.Wake {
				plan.Wake = soon
			}
		}
	}
	if err = errors.Join(err, r.record(ctx, g, plan, err)); err != nil {
		return ctrl.Result{}, err
	}
	return ctrl.Result{RequeueAfter: min(plan.Wake, atMost)}, nil
}

// told says that the status is about the grant as it is.
func told(g *v1alpha1.AccessGrant) bool {
	ready := meta.FindStatusCondition(g.Status.Conditions, v1alpha1.ConditionReady)
	return ready != nil && ready.Status == metav1.ConditionTrue && ready.ObservedGeneration == g.Generation
}

// end lets a deleted grant go once its bindings are gone.
func (r *Reconciler) end(ctx context.Context, g *v1alpha1.AccessGrant) error {
	if !slices.Contains(g.Finalizers, finalizer) {
		return nil
	}
	if err := r.keep(ctx, client.ObjectKeyFromObject(g), nil); err != nil {
		return err
	}
	before := g.DeepCopy()
	controllerutil.RemoveFinalizer(g, finalizer)
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := r.Client.Patch(ctx, g, patch); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("let go of grant %s: %w", access.Key(g), err)
	}
	return nil
}

// closed are the projects of a grant into which nothing can be bound. A namespace
// that the hub did not make may be somebody else's, where it stores in a cluster
// that others use too.
func (r *Reconciler) closed(ctx context.Context, g *v1alpha1.AccessGrant) (map[string]string, error) {
	closed := map[string]string{}
	for _, name := range access.Scopes(g, r.Namespace) {
		if name == access.Fleet {
			continue
		}
		err := r.Client.Get(ctx, client.ObjectKey{Name: name}, &v1alpha1.Project{})
		if apierrors.IsNotFound(err) {
			closed[name] = "there is no project " + name
			continue
		} else if err != nil {
			return nil, fmt.Errorf("read project %s of grant %s: %w", name, access.Key(g), err)
		}
		namespace := &corev1.Namespace{}
		err = r.Live.Get(ctx, client.ObjectKey{Name: name}, namespace)
		switch {
		case apierrors.IsNotFound(err):
			closed[name] = "project " + name + " has no namespace yet"
		case err != nil:
			return nil, fmt.Errorf("read the namespace of project %s: %w", name, err)
		case namespace.Labels["atoll.dev/project"] != name:
			closed[name] = fmt.Sprintf("namespace %s was not made by the hub; if it is the project's, label it: kubectl label namespace %s atoll.dev/project=%s", name, name, name)
		}
	}
	return closed, nil
}

// record writes the status, on change only.
func (r *Reconciler) record(ctx context.Context, g *v1alpha1.AccessGrant, plan access.Plan, failed error) error {
	next := g.DeepCopy()
	next.Status.Pending = plan.Pending[:min(len(plan.Pending), shown)]
	ready := metav1.Condition{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: plan.Reason, Message: plan.Why, ObservedGeneration: g.Generation}
	if !plan.Holds() {
		ready.Status = metav1.ConditionFalse
	}
	if failed != nil {
		ready.Status, ready.Reason, ready.Message = metav1.ConditionFalse, access.ReasonPending, failed.Error()
	}
	changed := meta.SetStatusCondition(&next.Status.Conditions, ready)
	if !changed && slices.Equal(next.Status.Pending, g.Status.Pending) {
		return nil
	}
	if err := r.Client.Status().Patch(ctx, next, client.MergeFrom(g)); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("write status of grant %s: %w", access.Key(g), err)
	}
	return nil
}

// Concerned are the grants that a project may have waited for, or held in.
func (r *Reconciler) Concerned(ctx context.Context, project client.Object) []ctrl.Request {
	var grants v1alpha1.AccessGrantList
	if err := r.Client.List(ctx, &grants, client.UnsafeDisableDeepCopy); err != nil {
		return nil // the cache is not there: all grants are looked at when it is
	}
	var out []ctrl.Request
	for i := range grants.Items {
		if slices.Contains(access.Scopes(&grants.Items[i], r.Namespace), project.GetName()) {
			out = append(out, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(&grants.Items[i])})
		}
	}
	return out
}

// Owner is the grant that a binding is of.
func Owner(_ context.Context, binding client.Object) []ctrl.Request {
	key := binding.GetAnnotations()[grantMark]
	for i := range key {
		if key[i] == '/' {
			return []ctrl.Request{{NamespacedName: types.NamespacedName{Namespace: key[:i], Name: key[i+1:]}}}
		}
	}
	return nil
}
