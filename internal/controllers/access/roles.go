package access

import (
	"context"
	"fmt"
	"reflect"

	rbacv1 "k8s.io/api/rbac/v1"
	rbacapply "k8s.io/client-go/applyconfigurations/rbac/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/access"
)

// Roles keeps the ClusterRoles of our roles, and has the hub's admins hold the one
// of that name: where the hub stores in a cluster that others use too, nothing else
// lets them give roles.
type Roles struct {
	Client client.Client
	// Admins is the group of the hub's admins.
	Admins string
	// Shared tells that the hub stores in a cluster that others may use: it has no
	// rights to Secrets there, and makes no role of them.
	Shared bool
}

// Reconcile keeps the role whose ClusterRole bears the name.
func (r *Roles) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	role, ours := access.Find(req.Name)
	if !ours || r.Shared && role.Name == v1alpha1.RoleSecrets {
		return ctrl.Result{}, nil
	}
	if err := r.role(ctx, req.Name, role.Rules); err != nil {
		return ctrl.Result{}, err
	}
	if role.Name != v1alpha1.RoleAdmin {
		return ctrl.Result{}, nil
	}
	return ctrl.Result{}, r.admins(ctx, req.Name)
}

func (r *Roles) role(ctx context.Context, name string, rules []rbacv1.PolicyRule) error {
	there := &rbacv1.ClusterRole{}
	err := r.Client.Get(ctx, client.ObjectKey{Name: name}, there)
	if err == nil && reflect.DeepEqual(there.Rules, rules) {
		return nil
	}
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("read role %s: %w", name, err)
	}
	wanted := rbacapply.ClusterRole(name).WithLabels(Marks())
	for _, rule := range rules {
		wanted.WithRules(rbacapply.PolicyRule().
			WithAPIGroups(rule.APIGroups...).WithResources(rule.Resources...).WithResourceNames(rule.ResourceNames...).WithVerbs(rule.Verbs...))
	}
	if err := r.Client.Apply(ctx, wanted, fieldOwner, client.ForceOwnership); err != nil {
		return fmt.Errorf("keep role %s: %w", name, err)
	}
	return nil
}

func (r *Roles) admins(ctx context.Context, name string) error {
	subject := rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: r.Admins}
	there := &rbacv1.ClusterRoleBinding{}
	err := r.Client.Get(ctx, client.ObjectKey{Name: name}, there)
	if err == nil && reflect.DeepEqual(there.Subjects, []rbacv1.Subject{subject}) {
		return nil
	}
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("read what group %s holds: %w", r.Admins, err)
	}
	wanted := rbacapply.ClusterRoleBinding(name).WithLabels(Marks()).
		WithRoleRef(rbacapply.RoleRef().WithAPIGroup(rbacv1.GroupName).WithKind("ClusterRole").WithName(name)).
		WithSubjects(rbacapply.Subject().WithAPIGroup(subject.APIGroup).WithKind(subject.Kind).WithName(subject.Name))
	if err := r.Client.Apply(ctx, wanted, fieldOwner, client.ForceOwnership); err != nil {
		return fmt.Errorf("give group %s role %s: %w", r.Admins, name, err)
	}
	return nil
}
