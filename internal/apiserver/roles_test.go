package apiserver

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac/bootstrappolicy"
)

func installRoles(t *testing.T) {
	t.Helper()
	if err := ensureRoles(genericapiserver.PostStartHookContext{LoopbackClientConfig: hub.LoopbackConfig(), Context: t.Context()}); err != nil {
		t.Fatal(err)
	}
}

func TestKubernetesRolesAreThereWithoutThoseOfItsOwnControllers(t *testing.T) {
	rbac := adminClient(t).RbacV1()
	for _, role := range bootstrappolicy.ClusterRoles() {
		if _, err := rbac.ClusterRoles().Get(t.Context(), role.Name, metav1.GetOptions{}); err != nil {
			t.Error(err)
		}
	}
	for _, binding := range bootstrappolicy.ClusterRoleBindings() {
		if _, err := rbac.ClusterRoleBindings().Get(t.Context(), binding.Name, metav1.GetOptions{}); err != nil {
			t.Error(err)
		}
	}
	_, err := rbac.ClusterRoles().Get(t.Context(), "system:controller:node-controller", metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		t.Errorf("a role of a controller that no hub runs: %v", err)
	}
}

func TestStartPutsBackRolesThatWereChangedUnlessTheyAreProtected(t *testing.T) {
	rbac := adminClient(t).RbacV1()
	if err := rbac.ClusterRoles().Delete(t.Context(), "system:discovery", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := rbac.ClusterRoleBindings().Delete(t.Context(), "system:basic-user", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := rbac.Roles("kube-system").Delete(t.Context(), "extension-apiserver-authentication-reader", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	weaken := func(name, autoupdate string) {
		role, err := rbac.ClusterRoles().Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		role.Rules, role.Annotations = nil, map[string]string{rbacv1.AutoUpdateAnnotationKey: autoupdate}
		if _, err := rbac.ClusterRoles().Update(t.Context(), role, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	weaken("system:basic-user", "true")
	weaken("system:kube-dns", "false")

	installRoles(t)

	rules := func(name string) int {
		role, err := rbac.ClusterRoles().Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return len(role.Rules)
	}
	if rules("system:discovery") == 0 || rules("system:basic-user") == 0 {
		t.Error("a role that lost its rules has none")
	}
	if n := rules("system:kube-dns"); n != 0 {
		t.Errorf("a protected role has %d rules again", n)
	}
	if _, err := rbac.ClusterRoleBindings().Get(t.Context(), "system:basic-user", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
	if _, err := rbac.Roles("kube-system").Get(t.Context(), "extension-apiserver-authentication-reader", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
}

func TestRolesThatAreThereAreNotWrittenAgain(t *testing.T) {
	installRoles(t)
	versions := func() map[string]string {
		out := map[string]string{}
		bindings, err := adminClient(t).RbacV1().ClusterRoleBindings().List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range bindings.Items {
			out["binding "+b.Name] = b.ResourceVersion
		}
		roles, err := adminClient(t).RbacV1().ClusterRoles().List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range roles.Items {
			if r.AggregationRule == nil { // those are another controller's to fill
				out["role "+r.Name] = r.ResourceVersion
			}
		}
		return out
	}
	before := versions()
	installRoles(t)
	if diff := cmp.Diff(before, versions()); diff != "" {
		t.Errorf("(-before +after):\n%s", diff)
	}
}

func TestDefinitionThatSomebodyChangedIsPutBack(t *testing.T) {
	client, err := clientset.NewForConfig(hub.LoopbackConfig())
	if err != nil {
		t.Fatal(err)
	}
	definitions := client.ApiextensionsV1().CustomResourceDefinitions()
	installed := func(ctx context.Context) bool {
		there, err := isInstalled(ctx, client, ringCRD())
		if err != nil {
			t.Fatal(err)
		}
		return there
	}
	if !installed(t.Context()) {
		t.Error("a definition that is as it was written would be applied at each start")
	}
	live, err := definitions.Get(t.Context(), ringCRD().Name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	live.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"].Properties["size"] = apiextensionsv1.JSONSchemaProps{Type: "integer"}
	if _, err := definitions.Update(t.Context(), live, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if installed(t.Context()) {
		t.Error("the change was not noticed")
	}
	if err := installCRDs(t.Context(), hub.LoopbackConfig(), []*apiextensionsv1.CustomResourceDefinition{ringCRD()}); err != nil {
		t.Fatal(err)
	}
	if !installed(t.Context()) {
		t.Error("it was not put back")
	}
}
