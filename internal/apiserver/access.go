package apiserver

import (
	"context"
	"fmt"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	rbacapply "k8s.io/client-go/applyconfigurations/rbac/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// grantAdmins binds the admins' group to cluster-admin, at every start, so that
// the admin kubeconfig works again after someone has removed the binding.
func grantAdmins(ctx context.Context, config *rest.Config) error {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("make the client for RBAC: %w", err)
	}
	binding := rbacapply.ClusterRoleBinding(AdminGroup).
		WithRoleRef(rbacapply.RoleRef().WithAPIGroup(rbacv1.GroupName).WithKind("ClusterRole").WithName("cluster-admin")).
		WithSubjects(rbacapply.Subject().WithAPIGroup(rbacv1.GroupName).WithKind(rbacv1.GroupKind).WithName(AdminGroup))
	_, err = client.RbacV1().ClusterRoleBindings().Apply(ctx, binding, metav1.ApplyOptions{FieldManager: fieldManager, Force: true})
	if err != nil {
		return fmt.Errorf("bind group %s to cluster-admin: %w", AdminGroup, err)
	}
	return nil
}

// awaitAdmins waits until admins are let in: the authorizer learns of roles by a
// watch, which on a busy machine lags behind what was written.
func awaitAdmins(ctx context.Context, judge authorizer.Authorizer) error {
	admin := authorizer.AttributesRecord{
		User: &user.DefaultInfo{Name: AdminUser, Groups: []string{AdminGroup}}, ResourceRequest: true,
		Verb: "*", APIGroup: "*", APIVersion: "*", Resource: "*", Namespace: metav1.NamespaceAll,
	}
	err := wait.PollUntilContextCancel(ctx, pollInterval, true, func(ctx context.Context) (bool, error) {
		decision, _, err := judge.Authorize(ctx, admin)
		return decision == authorizer.DecisionAllow, err
	})
	if err != nil {
		return fmt.Errorf("wait until group %s may do everything: %w", AdminGroup, err)
	}
	return nil
}
