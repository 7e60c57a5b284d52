package apiserver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/client-go/kubernetes"
	"k8s.io/component-helpers/auth/rbac/reconciliation"
	controlplane "k8s.io/kubernetes/pkg/controlplane/apiserver"
	rbacrest "k8s.io/kubernetes/pkg/registry/rbac/rest"
	"k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac/bootstrappolicy"
)

// Kubernetes' own hook for its roles begins a second after the server does,
// and then asks for each of 170 roles and bindings, one after the other, at
// every start. The hub lists them, and writes what is missing side by side. The
// 75 of controllers that no hub runs are left out.
type quickRoles struct{ rbacrest.RESTStorageProvider }

// PostStartHook replaces the provider's own, under its name in /readyz.
func (quickRoles) PostStartHook() (string, genericapiserver.PostStartHookFunc, error) {
	return rbacrest.PostStartHookName, ensureRoles, nil
}

// withQuickRoles replaces the provider of RBAC.
func withQuickRoles(providers []controlplane.RESTStorageProvider) []controlplane.RESTStorageProvider {
	for i, p := range providers {
		if rbac, ok := p.(rbacrest.RESTStorageProvider); ok {
			providers[i] = quickRoles{rbac}
		}
	}
	return providers
}

const (
	// roleRetry is for a store that is slow to begin, or another hub that writes
	// the same.
	roleRetry = 100 * time.Millisecond
	// roleWriters bounds the writes under way.
	roleWriters = 8
)

// ensureRoles has Kubernetes' default roles and bindings be there, with at least
// what they grant. An object that opted out by annotation stays as it is.
func ensureRoles(hook genericapiserver.PostStartHookContext) error {
	client, err := kubernetes.NewForConfig(hook.LoopbackClientConfig)
	if err != nil {
		return fmt.Errorf("make the client for Kubernetes' roles: %w", err)
	}
	ctx, cancel := context.WithTimeout(hook, startTimeout)
	defer cancel()
	var last error
	err = wait.PollUntilContextCancel(ctx, roleRetry, true, func(ctx context.Context) (bool, error) {
		last = errors.Join(reconcileRoles(ctx, client), reconcileBindings(ctx, client))
		return last == nil, nil
	})
	if err != nil {
		return fmt.Errorf("install Kubernetes' roles: %w", errors.Join(err, last))
	}
	return nil
}

func reconcileRoles(ctx context.Context, client kubernetes.Interface) error {
	list, err := client.RbacV1().ClusterRoles().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list cluster roles: %w", err)
	}
	there := listedRoles{reconciliation.ClusterRoleModifier{Client: client.RbacV1().ClusterRoles()}, map[string]reconciliation.RuleOwner{}}
	for i := range list.Items {
		there.add(reconciliation.ClusterRoleRuleOwner{ClusterRole: &list.Items[i]})
	}
	var group errgroup.Group
	group.SetLimit(roleWriters)
	for _, role := range bootstrappolicy.ClusterRoles() {
		there.reconcile(&group, reconciliation.ClusterRoleRuleOwner{ClusterRole: &role})
	}
	for namespace, roles := range bootstrappolicy.NamespaceRoles() {
		list, err := client.RbacV1().Roles(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return errors.Join(group.Wait(), fmt.Errorf("list roles of %s: %w", namespace, err))
		}
		there := listedRoles{reconciliation.RoleModifier{Client: client.RbacV1(), NamespaceClient: client.CoreV1().Namespaces()}, map[string]reconciliation.RuleOwner{}}
		for i := range list.Items {
			there.add(reconciliation.RoleRuleOwner{Role: &list.Items[i]})
		}
		for _, role := range roles {
			there.reconcile(&group, reconciliation.RoleRuleOwner{Role: &role})
		}
	}
	return group.Wait()
}

// listedRoles are those of one namespace, or of none, as they were a moment ago.
// Who finds them changed since begins anew, with another list.
type listedRoles struct {
	reconciliation.RuleOwnerModifier
	known map[string]reconciliation.RuleOwner
}

func (l listedRoles) add(o reconciliation.RuleOwner) { l.known[o.GetName()] = o }

// Get answers from the list.
func (l listedRoles) Get(_, name string) (reconciliation.RuleOwner, error) {
	if o, ok := l.known[name]; ok {
		return o, nil
	}
	return nil, apierrors.NewNotFound(rbacv1.Resource("roles"), name)
}

func (l listedRoles) reconcile(group *errgroup.Group, wanted reconciliation.RuleOwner) {
	o := reconciliation.ReconcileRoleOptions{Role: wanted, Client: l, Confirm: true}
	group.Go(func() error {
		if _, err := o.Run(); err != nil {
			return fmt.Errorf("install role %s: %w", wanted.GetName(), err)
		}
		return nil
	})
}

func reconcileBindings(ctx context.Context, client kubernetes.Interface) error {
	list, err := client.RbacV1().ClusterRoleBindings().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list cluster role bindings: %w", err)
	}
	there := listedBindings{reconciliation.ClusterRoleBindingClientAdapter{Client: client.RbacV1().ClusterRoleBindings()}, map[string]reconciliation.RoleBinding{}}
	for i := range list.Items {
		there.add(reconciliation.ClusterRoleBindingAdapter{ClusterRoleBinding: &list.Items[i]})
	}
	var group errgroup.Group
	group.SetLimit(roleWriters)
	for _, binding := range bootstrappolicy.ClusterRoleBindings() {
		there.reconcile(&group, reconciliation.ClusterRoleBindingAdapter{ClusterRoleBinding: &binding})
	}
	for namespace, bindings := range bootstrappolicy.NamespaceRoleBindings() {
		list, err := client.RbacV1().RoleBindings(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return errors.Join(group.Wait(), fmt.Errorf("list role bindings of %s: %w", namespace, err))
		}
		there := listedBindings{reconciliation.RoleBindingClientAdapter{Client: client.RbacV1(), NamespaceClient: client.CoreV1().Namespaces()}, map[string]reconciliation.RoleBinding{}}
		for i := range list.Items {
			there.add(reconciliation.RoleBindingAdapter{RoleBinding: &list.Items[i]})
		}
		for _, binding := range bindings {
			there.reconcile(&group, reconciliation.RoleBindingAdapter{RoleBinding: &binding})
		}
	}
	return group.Wait()
}

// listedBindings is to bindings what listedRoles is to roles.
type listedBindings struct {
	reconciliation.RoleBindingModifier
	known map[string]reconciliation.RoleBinding
}

func (l listedBindings) add(o reconciliation.RoleBinding) { l.known[o.GetName()] = o }

// Get answers from the list.
func (l listedBindings) Get(_, name string) (reconciliation.RoleBinding, error) {
	if o, ok := l.known[name]; ok {
		return o, nil
	}
	return nil, apierrors.NewNotFound(rbacv1.Resource("rolebindings"), name)
}

func (l listedBindings) reconcile(group *errgroup.Group, wanted reconciliation.RoleBinding) {
	o := reconciliation.ReconcileRoleBindingOptions{RoleBinding: wanted, Client: l, Confirm: true}
	group.Go(func() error {
		if _, err := o.Run(); err != nil {
			return fmt.Errorf("install role binding %s: %w", wanted.GetName(), err)
		}
		return nil
	})
}
