package join_test

import (
	"context"
	"strings"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/join"
	"atoll.dev/atoll/internal/sandbox"
)

var ticket = join.Ticket{Cluster: "member", Token: "atoll1.member.secret", Address: "127.0.0.1:7444", Roots: "pinned"}

// install applies the manifests of a profile to a real cluster.
func install(t *testing.T, cfg *rest.Config, p v1alpha1.Profile) {
	t.Helper()
	objects, err := join.Manifests(ticket, p, "atoll-agent:test")
	if err != nil {
		t.Fatal(err)
	}
	d, err := discovery.NewDiscoveryClientForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(d))
	client := dynamic.NewForConfigOrDie(cfg)
	for _, o := range objects {
		m, err := mapper.RESTMapping(o.GroupVersionKind().GroupKind(), o.GroupVersionKind().Version)
		if err != nil {
			t.Fatal(err)
		}
		var target dynamic.ResourceInterface = client.Resource(m.Resource)
		if m.Scope.Name() == meta.RESTScopeNameNamespace {
			target = client.Resource(m.Resource).Namespace(o.GetNamespace())
		}
		if _, err := target.Apply(t.Context(), o.GetName(), o, metav1.ApplyOptions{FieldManager: "test", Force: true}); err != nil {
			t.Fatalf("apply %s %s: %v", o.GetKind(), o.GetName(), err)
		}
	}
}

// as is a client that acts as an account of atoll-system.
func as(t *testing.T, cfg *rest.Config, account string) kubernetes.Interface {
	t.Helper()
	c := rest.CopyConfig(cfg)
	c.Impersonate = rest.ImpersonationConfig{
		UserName: "system:serviceaccount:" + v1alpha1.SystemNamespace + ":" + account,
		Groups:   []string{"system:serviceaccounts", "system:authenticated"},
	}
	return kubernetes.NewForConfigOrDie(c)
}

type access struct{ verb, group, resource, namespace, name string }

func may(t *testing.T, client kubernetes.Interface, a access) bool {
	t.Helper()
	resource, sub, _ := strings.Cut(a.resource, "/")
	review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
		ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: a.verb, Group: a.group, Resource: resource, Subresource: sub, Namespace: a.namespace, Name: a.name},
	}}
	got, err := client.AuthorizationV1().SelfSubjectAccessReviews().Create(t.Context(), review, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return got.Status.Allowed
}

func eventually(t *testing.T, what string, ok func(context.Context) bool) {
	t.Helper()
	err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) { return ok(ctx), nil })
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

func TestEachProfileGivesWhatItsWordsSayAndNoMore(t *testing.T) {
	const system = v1alpha1.SystemNamespace
	tests := []struct {
		profile v1alpha1.Profile
		can     []access
		cannot  []access
	}{
		{
			v1alpha1.ProfileRead,
			[]access{{"list", "apps", "deployments", "", ""}, {"watch", "", "nodes", "", ""}, {"get", "", "secrets", system, "x"}, {"create", "", "serviceaccounts/token", system, join.TunnelAccount}},
			[]access{{"get", "", "secrets", "default", "x"}, {"list", "", "secrets", "", ""}, {"create", "apps", "deployments", "default", ""}, {"impersonate", "", "serviceaccounts", system, "atoll-project-a"}, {"create", "", "namespaces", "", ""}, {"impersonate", "", "users", "", "system:admin"}},
		},
		{
			v1alpha1.ProfileNamespaces,
			[]access{{"list", "", "secrets", "", ""}, {"watch", "anything.example", "widgets", "", ""}, {"create", "", "namespaces", "", ""}, {"impersonate", "", "serviceaccounts", system, "atoll-project-a"}, {"create", rbacv1.GroupName, "rolebindings", "shop", ""}},
			[]access{{"create", "apps", "deployments", "default", ""}, {"delete", "", "nodes", "", "n"}, {"impersonate", "", "serviceaccounts", "kube-system", "x"}, {"impersonate", "", "users", "", "system:admin"}, {"create", "", "serviceaccounts/token", "kube-system", "x"}},
		},
		{
			v1alpha1.ProfileFull,
			[]access{{"create", "apps", "deployments", "default", ""}, {"delete", "", "nodes", "", "n"}, {"impersonate", "", "serviceaccounts", system, "atoll-project-a"}},
			nil,
		},
	}
	for _, tt := range tests {
		t.Run(string(tt.profile), func(t *testing.T) {
			cfg, err := sandbox.Shared(t, "member").RESTConfig()
			if err != nil {
				t.Fatal(err)
			}
			install(t, cfg, tt.profile)
			agent := as(t, cfg, join.AgentAccount)
			eventually(t, "the last right arrives", func(context.Context) bool { return may(t, agent, tt.can[len(tt.can)-1]) })
			for _, a := range tt.can {
				if !may(t, agent, a) {
					t.Errorf("the agent may not %+v", a)
				}
			}
			for _, a := range tt.cannot {
				eventually(t, "the right of an earlier profile goes", func(context.Context) bool { return !may(t, agent, a) })
			}
			tunnel := as(t, cfg, join.TunnelAccount)
			if !may(t, tunnel, access{"impersonate", "", "users", "", "atoll:ann"}) {
				t.Error("the tunnel may not speak as a person")
			}
			if may(t, tunnel, access{"list", "", "pods", "", ""}) || may(t, tunnel, access{"impersonate", "", "serviceaccounts", system, "atoll-agent"}) {
				t.Error("the tunnel's account has rights of its own")
			}
		})
	}
}

func TestTheAgentRunsUnderTheStrictestPodSecurity(t *testing.T) {
	cfg, err := sandbox.Shared(t, "member").RESTConfig()
	if err != nil {
		t.Fatal(err)
	}
	install(t, cfg, v1alpha1.ProfileFull)
	client := kubernetes.NewForConfigOrDie(cfg)
	eventually(t, "the agent's pod is admitted", func(ctx context.Context) bool {
		pods, err := client.CoreV1().Pods(v1alpha1.SystemNamespace).List(ctx, metav1.ListOptions{})
		return err == nil && len(pods.Items) == 1
	})
}

// TestTheBoundsHoldAnAgentThatMayGiveRights tries what a hub that was taken
// over would try through an agent with profile namespaces.
func TestTheBoundsHoldAnAgentThatMayGiveRights(t *testing.T) {
	cfg, err := sandbox.Shared(t, "member").RESTConfig()
	if err != nil {
		t.Fatal(err)
	}
	install(t, cfg, v1alpha1.ProfileNamespaces)
	admin, agent := kubernetes.NewForConfigOrDie(cfg), as(t, cfg, join.AgentAccount)
	if _, err := admin.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "bounds"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	role := func(name string, rules ...rbacv1.PolicyRule) *rbacv1.Role {
		return &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: rules}
	}
	create := func(ns string, r *rbacv1.Role) error {
		_, err := agent.RbacV1().Roles(ns).Create(t.Context(), r, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err
	}
	plain := rbacv1.PolicyRule{APIGroups: []string{"apps"}, Resources: []string{"deployments"}, Verbs: []string{"create"}}
	eventually(t, "the policy is in force", func(context.Context) bool { return apierrors.IsInvalid(create("bounds", role("other", plain))) })
	if err := create("bounds", role("atoll-project-demo", plain)); err != nil {
		t.Errorf("a plain right for a project is refused: %v", err)
	}
	refused := map[string]error{
		"rights in kube-system": create("kube-system", role("atoll-project-demo", plain)),
		"a wildcard":            create("bounds", role("atoll-project-demo", rbacv1.PolicyRule{APIGroups: []string{"*"}, Resources: []string{"*"}, Verbs: []string{"get"}})),
		"RBAC":                  create("bounds", role("atoll-project-demo", rbacv1.PolicyRule{APIGroups: []string{rbacv1.GroupName}, Resources: []string{"roles"}, Verbs: []string{"create"}})),
		"a token":               create("bounds", role("atoll-project-demo", rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"serviceaccounts/token"}, Verbs: []string{"create"}})),
		"bind":                  create("bounds", role("atoll-project-demo", rbacv1.PolicyRule{APIGroups: []string{"apps"}, Resources: []string{"deployments"}, Verbs: []string{"bind"}})),
		"cluster-admin":         bind(t, agent, "cluster-admin", "atoll-project-demo"),
		"rights everywhere":     bind(t, agent, "atoll-project-demo:namespaced", "atoll-project-demo"),
		"cluster-scoped kinds":  clusterRole(t, agent, "atoll-project-demo", plain),
		"itself":                bind(t, agent, "atoll-project-demo", join.AgentAccount),
	}
	for what, err := range refused {
		if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "Atoll agent may") {
			t.Errorf("%s is not refused by the policy: %v", what, err)
		}
	}
	if err := bind(t, agent, "atoll-project-demo", "atoll-project-demo"); err != nil {
		t.Errorf("binding a project's role to its account is refused: %v", err)
	}
	if err := clusterRole(t, agent, "atoll-project-demo:namespaced", plain); err != nil {
		t.Errorf("a role for a project's namespaces is refused: %v", err)
	}
	own := rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"namespaces"}, ResourceNames: []string{"demo"}, Verbs: []string{"patch"}}
	if err := clusterRole(t, agent, "atoll-project-demo", own); err != nil {
		t.Errorf("a role for a project's own namespace is refused: %v", err)
	}
	if err := agent.CoreV1().Namespaces().Delete(t.Context(), v1alpha1.SystemNamespace, metav1.DeleteOptions{DryRun: []string{metav1.DryRunAll}}); err == nil {
		t.Error("the agent may delete its own namespace")
	}
}

func bind(t *testing.T, client kubernetes.Interface, role, account string) error {
	t.Helper()
	b := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "atoll-project-demo"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Name: account, Namespace: v1alpha1.SystemNamespace}},
	}
	_, err := client.RbacV1().ClusterRoleBindings().Create(t.Context(), b, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	return err
}

func clusterRole(t *testing.T, client kubernetes.Interface, name string, rules ...rbacv1.PolicyRule) error {
	t.Helper()
	r := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: rules}
	_, err := client.RbacV1().ClusterRoles().Create(t.Context(), r, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	return err
}
