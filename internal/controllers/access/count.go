package access

import (
	"context"
	"fmt"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/access"
)

// again and seldom are when a binding is asked after once more that does not count
// yet: soon, and less often the longer it has not.
const (
	again  = 50 * time.Millisecond
	seldom = time.Minute
)

func patience(g *v1alpha1.AccessGrant, now time.Time) time.Duration {
	ready := meta.FindStatusCondition(g.Status.Conditions, v1alpha1.ConditionReady)
	if ready == nil {
		return again
	}
	return min(max(again, now.Sub(ready.LastTransitionTime.Time)/4), seldom)
}

// count tells whether the API's authorizer has taken note of bindings, which it
// learns of by a watch: what a grant says that it gives can be used at once.
func (r *Reconciler) count(ctx context.Context, bindings []access.Binding) (bool, error) {
	for _, b := range bindings {
		role, known := access.Find(b.Role)
		if !known {
			continue
		}
		rule := role.Rules[0]
		review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
			ResourceAttributes: &authorizationv1.ResourceAttributes{
				Verb: rule.Verbs[0], Group: rule.APIGroups[0], Resource: rule.Resources[0], Namespace: b.Scope,
			},
		}}
		if s := b.Subjects[0]; s.Kind == rbacv1.UserKind {
			review.Spec.User = s.Name
		} else {
			review.Spec.Groups = []string{s.Name}
		}
		if err := r.Client.Create(ctx, review); err != nil {
			return false, fmt.Errorf("ask whether role %s counts in %s: %w", b.Role, access.Place(b.Scope), err)
		}
		if !review.Status.Allowed {
			return false, nil
		}
	}
	return true, nil
}
