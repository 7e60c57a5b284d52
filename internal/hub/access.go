package hub

import (
	"context"
	"fmt"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/access"
	"atoll.dev/atoll/internal/apiserver"
	"atoll.dev/atoll/internal/clock"
	accesscontroller "atoll.dev/atoll/internal/controllers/access"
	"atoll.dev/atoll/internal/validate"
)

// withAccess has the controllers watch those objects of RBAC that the hub made for
// people, and no others.
func withAccess(o cache.Options) cache.Options {
	for _, kind := range []client.Object{&rbacv1.ClusterRole{}, &rbacv1.ClusterRoleBinding{}, &rbacv1.RoleBinding{}} {
		o.ByObject[kind] = cache.ByObject{Label: labels.SelectorFromSet(accesscontroller.Marks())}
	}
	return o
}

// keepAccess prepares the controllers of roles and grants.
func (h *hub) keepAccess() error {
	allRoles := source.Func(func(_ context.Context, q workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		for _, role := range access.Roles() {
			q.Add(reconcile.Request{NamespacedName: types.NamespacedName{Name: access.ClusterRole(role.Name)}})
		}
		return nil
	})
	err := builder.ControllerManagedBy(h.mgr).Named("roles").
		For(&rbacv1.ClusterRole{}).
		Watches(&rbacv1.ClusterRoleBinding{}, &handler.EnqueueRequestForObject{}). // the admins' has the name of their role
		WatchesRawSource(allRoles).
		Complete(&accesscontroller.Roles{Client: h.mgr.GetClient(), Admins: apiserver.AdminGroup, Shared: h.Host != nil})
	if err != nil {
		return fmt.Errorf("prepare the controller of roles: %w", err)
	}
	often := concurrent(4)
	// A grant ends in time, though something of it fails again and again.
	often.RateLimiter = workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](5*time.Millisecond, time.Minute)
	grants := &accesscontroller.Reconciler{Client: h.mgr.GetClient(), Live: h.live, Namespace: h.Namespace, Now: clock.Now}
	err = builder.ControllerManagedBy(h.mgr).Named("access").
		For(&v1alpha1.AccessGrant{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&v1alpha1.Project{}, handler.EnqueueRequestsFromMapFunc(grants.Concerned)).
		Watches(&rbacv1.RoleBinding{}, handler.EnqueueRequestsFromMapFunc(accesscontroller.Owner)).
		Watches(&rbacv1.ClusterRoleBinding{}, handler.EnqueueRequestsFromMapFunc(accesscontroller.Owner)).
		WithOptions(often).Complete(grants)
	if err != nil {
		return fmt.Errorf("prepare the controller of grants: %w", err)
	}
	return nil
}

// given refuses a grant where it has no place, one that is over, and one of a role
// that is not for its author to give: they must be allowed to bind that role there,
// which is also what RBAC itself asks of who writes a binding.
func (a *admit) given(ctx context.Context, w apiserver.Write) error {
	g := &v1alpha1.AccessGrant{}
	if w.Kind.Kind != "AccessGrant" || runtime.DefaultUnstructuredConverter.FromUnstructured(w.New.Object, g) != nil {
		return nil
	}
	if w.Old != nil && equality.Semantic.DeepEqual(w.New.Object["spec"], w.Old.Object["spec"]) {
		return nil
	}
	g.Namespace = w.Namespace
	if errs := access.Refuse(g, a.namespace, a.shared, clock.Now()); len(errs) > 0 {
		return errs.ToAggregate()
	}
	role := access.ClusterRole(g.Spec.Role)
	for _, scope := range access.Scopes(g, a.namespace) {
		allowed, err := a.allowed(ctx, w, validate.Privilege{
			Verb: "bind", Resource: schema.GroupResource{Group: rbacv1.GroupName, Resource: "clusterroles"}, Namespace: scope, Name: role,
		})
		if err != nil {
			return apierrors.NewInternalError(err)
		}
		if !allowed {
			return apierrors.NewForbidden(w.Resource.GroupResource(), w.Name, fmt.Errorf(
				"spec.role: %s may not give role %s in %s, for nobody gives what they do not hold: it needs the verb \"bind\" on clusterroles %s there, which role %s has",
				w.User.GetName(), g.Spec.Role, access.Place(scope), role, access.Giver(g.Spec.Role)))
		}
	}
	return nil
}
