package policy_test

import (
	"fmt"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/policy"
	"atoll.dev/atoll/internal/sandbox"
)

const account = "system:serviceaccount:atoll-system:atoll-project-shop"

var (
	namespaces   = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
	configMaps   = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	accounts     = schema.GroupVersionResource{Version: "v1", Resource: "serviceaccounts"}
	roles        = rbacv1.SchemeGroupVersion.WithResource("roles")
	bindings     = rbacv1.SchemeGroupVersion.WithResource("rolebindings")
	clusterRoles = rbacv1.SchemeGroupVersion.WithResource("clusterroles")
	clusterBinds = rbacv1.SchemeGroupVersion.WithResource("clusterrolebindings")
)

// member is a real cluster, reached as its admin and as the project's account.
type member struct{ admin, project dynamic.Interface }

func startMember(t *testing.T) member {
	t.Helper()
	config, err := sandbox.Shared(t, "rbac").RESTConfig()
	if err != nil {
		t.Fatal(err)
	}
	asProject := rest.CopyConfig(config)
	asProject.Impersonate = rest.ImpersonationConfig{UserName: account}
	return member{admin: client(t, config), project: client(t, asProject)}
}

func client(t *testing.T, config *rest.Config) dynamic.Interface {
	t.Helper()
	c, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// apply is a server-side apply, as the agent does.
func apply(t *testing.T, c dynamic.Interface, r schema.GroupVersionResource, manifest string) error {
	t.Helper()
	u := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(manifest), &u.Object); err != nil {
		t.Fatal(err)
	}
	_, err := c.Resource(r).Namespace(u.GetNamespace()).Apply(t.Context(), u.GetName(), u, metav1.ApplyOptions{FieldManager: "atoll/shop/web"})
	return err
}

func mustApply(t *testing.T, c dynamic.Interface, r schema.GroupVersionResource, object runtime.Object) {
	t.Helper()
	manifest, err := yaml.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	if err := apply(t, c, r, string(manifest)); err != nil {
		t.Fatal(err)
	}
}

// grant installs an Access as the agent does.
func (m member) grant(t *testing.T, access policy.Access) {
	t.Helper()
	subjects := []rbacv1.Subject{{Kind: "User", APIGroup: rbacv1.GroupName, Name: account}}
	for name, rules := range map[string][]rbacv1.PolicyRule{"project-cluster": access.Cluster, "project-namespaced": access.Namespaced} {
		mustApply(t, m.admin, clusterRoles, &rbacv1.ClusterRole{
			TypeMeta: metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "ClusterRole"}, ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: rules,
		})
	}
	ref := func(name string) rbacv1.RoleRef {
		return rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name}
	}
	mustApply(t, m.admin, clusterBinds, &rbacv1.ClusterRoleBinding{
		TypeMeta: metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "ClusterRoleBinding"}, ObjectMeta: metav1.ObjectMeta{Name: "project"},
		Subjects: subjects, RoleRef: ref("project-cluster"),
	})
	for _, namespace := range access.Namespaces {
		// The project creates its own namespaces: create limited by name. The
		// authorizer reads RBAC through a watch, so the grant takes a moment.
		eventually(t, func() error {
			return apply(t, m.project, namespaces, fmt.Sprintf(`{apiVersion: v1, kind: Namespace, metadata: {name: %s}}`, namespace))
		})
		mustApply(t, m.admin, bindings, &rbacv1.RoleBinding{
			TypeMeta: metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "RoleBinding"}, ObjectMeta: metav1.ObjectMeta{Name: "project", Namespace: namespace},
			Subjects: subjects, RoleRef: ref("project-namespaced"),
		})
	}
}

// The member's own RBAC refuses what Check refuses, and lets pass what it lets
// pass: the second of the two refusals, without any code of ours.
func TestTheMembersRBACRefusesAgain(t *testing.T) {
	m := startMember(t)
	m.grant(t, policy.ProjectRBAC("shop", desired.Policy{}, policy.Member{
		Resources: []policy.Resource{
			{Kind: "ConfigMap", Plural: "configmaps", Namespaced: true}, {Kind: "ServiceAccount", Plural: "serviceaccounts", Namespaced: true},
			{Kind: "Namespace", Plural: "namespaces"},
			{Group: rbacv1.GroupName, Kind: "Role", Plural: "roles", Namespaced: true},
			{Group: rbacv1.GroupName, Kind: "RoleBinding", Plural: "rolebindings", Namespaced: true},
			{Group: rbacv1.GroupName, Kind: "ClusterRoleBinding", Plural: "clusterrolebindings"},
		},
		Namespaces: []string{"shop", "shop-eu", "default"},
	}))
	allowed := []struct {
		resource schema.GroupVersionResource
		manifest string
	}{
		{configMaps, `{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: shop}}`},
		{accounts, `{apiVersion: v1, kind: ServiceAccount, metadata: {name: a, namespace: shop-eu}}`},
		{namespaces, `{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {team: red}}}`},
	}
	for _, tc := range allowed {
		eventually(t, func() error { return apply(t, m.project, tc.resource, tc.manifest) })
	}
	for _, tc := range []struct {
		name     string
		resource schema.GroupVersionResource
		manifest string
	}{
		{"a foreign namespace", configMaps, `{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: default}}`},
		{"the cluster's own namespace", configMaps, `{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: kube-system}}`},
		{"a namespace it does not own", namespaces, `{apiVersion: v1, kind: Namespace, metadata: {name: bank}}`},
		{"a change of one it does not own", namespaces, `{apiVersion: v1, kind: Namespace, metadata: {name: default, labels: {a: b}}}`},
		{"a role in its own namespace", roles, `{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: a, namespace: shop}, rules: []}`},
		{"a binding in its own namespace", bindings, `{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: a, namespace: shop}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}}`},
		{"cluster-admin for itself", clusterBinds, `{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: a}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if err := apply(t, m.project, tc.resource, tc.manifest); !apierrors.IsForbidden(err) {
				t.Errorf("want Forbidden, got %v", err)
			}
		})
	}
	t.Run("a token of one of its accounts", func(t *testing.T) {
		request := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "metadata": map[string]any{"name": "a"}}}
		_, err := m.project.Resource(accounts).Namespace("shop-eu").Create(t.Context(), request, metav1.CreateOptions{}, "token")
		if !apierrors.IsForbidden(err) {
			t.Errorf("want Forbidden, got %v", err)
		}
	})
}

func eventually(t *testing.T, try func() error) {
	t.Helper()
	deadline, tick := time.After(time.Minute), time.NewTicker(50*time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal(err)
		}
	}
}
