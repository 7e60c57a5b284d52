package policy

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/desired"
)

func object(t testing.TB, manifest string) *unstructured.Unstructured {
	t.Helper()
	u := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(manifest), &u.Object); err != nil {
		t.Fatal(err)
	}
	return u
}

// memberScope knows Kubernetes' kinds and no custom one.
func memberScope(gk schema.GroupKind) (namespaced, known bool) {
	if clusterScoped(gk) {
		return false, true
	}
	return true, !strings.Contains(gk.Group, "example.com")
}

func TestCheck(t *testing.T) {
	rbac := []v1alpha1.GroupKind{
		{Group: rbacv1.GroupName, Kind: "Role"}, {Group: rbacv1.GroupName, Kind: "RoleBinding"}, {Group: rbacv1.GroupName, Kind: "ClusterRole"},
	}
	for _, tc := range []struct {
		name     string
		policy   desired.Policy
		manifest string
		want     string // empty: allowed
		says     string
	}{
		{name: "a workload in the default namespace", manifest: `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}}`},
		{name: "one in a namespace of the project's prefix", manifest: `{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop-eu}}`},
		{name: "one in a foreign namespace", manifest: `{apiVersion: v1, kind: Service, metadata: {name: web, namespace: bank}}`, want: ForeignNamespace, says: "shop, shop-*"},
		{name: "a namespace that only begins like the project's", manifest: `{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shopper}}`, want: ForeignNamespace},
		{name: "kube-system, even when a pattern reaches it", policy: desired.Policy{Namespaces: []string{"k*"}},
			manifest: `{apiVersion: v1, kind: ConfigMap, metadata: {name: coredns, namespace: kube-system}}`, want: SystemNamespace},
		{name: "the agent's namespace, even for the privileged", policy: desired.Policy{Privileged: true},
			manifest: `{apiVersion: v1, kind: ConfigMap, metadata: {name: atoll-limits, namespace: atoll-system}}`, want: SystemNamespace},
		{name: "the agent's namespace itself", policy: desired.Policy{Privileged: true},
			manifest: `{apiVersion: v1, kind: Namespace, metadata: {name: atoll-system}}`, want: SystemNamespace},
		{name: "the agent's own rights, even for the privileged", policy: desired.Policy{Privileged: true},
			manifest: `{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: atoll-agent}}`, want: ReservedName},
		{name: "the privileged reach kube-system", policy: desired.Policy{Privileged: true},
			manifest: `{apiVersion: v1, kind: ConfigMap, metadata: {name: x, namespace: kube-system}}`},
		{name: "the privileged may bind cluster-admin", policy: desired.Policy{Privileged: true},
			manifest: `{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: x}, roleRef: {name: cluster-admin}}`},
		{name: "its own namespace", manifest: `{apiVersion: v1, kind: Namespace, metadata: {name: shop-eu}}`},
		{name: "somebody else's namespace", manifest: `{apiVersion: v1, kind: Namespace, metadata: {name: bank}}`, want: ForeignNamespace},
		{name: "a cluster-admin binding", manifest: `{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: x}, roleRef: {name: cluster-admin}}`, want: ClusterScoped},
		{name: "a RoleBinding without leave", manifest: `{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: x}}`, want: RBACForbidden, says: "spec.kinds"},
		{name: "a RoleBinding with leave", policy: desired.Policy{Kinds: rbac},
			manifest: `{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: x}, roleRef: {kind: ClusterRole, name: view}, subjects: [{kind: ServiceAccount, name: "system:odd"}, {kind: User, name: ann}]}`},
		{name: "one to cluster-admin even with leave", policy: desired.Policy{Kinds: rbac},
			manifest: `{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: x}, roleRef: {kind: ClusterRole, name: cluster-admin}}`, want: Escalation},
		{name: "one for the cluster's own groups", policy: desired.Policy{Kinds: rbac},
			manifest: `{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: x}, roleRef: {name: view}, subjects: [{kind: Group, name: "system:authenticated"}]}`, want: Escalation},
		{name: "a Role that impersonates", policy: desired.Policy{Kinds: rbac},
			manifest: `{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: x}, rules: [{apiGroups: [""], resources: [serviceaccounts], verbs: [get, impersonate]}]}`, want: Escalation, says: "impersonate"},
		{name: "a Role of everything", policy: desired.Policy{Kinds: rbac},
			manifest: `{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: x}, rules: [{apiGroups: ["*"], resources: ["*"], verbs: ["*"]}]}`, want: Escalation},
		{name: "a ClusterRole that widens admin", policy: desired.Policy{Kinds: rbac},
			manifest: `{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: x, labels: {rbac.authorization.k8s.io/aggregate-to-admin: "true"}}}`, want: Escalation},
		{name: "a ClusterRole by aggregation", policy: desired.Policy{Kinds: rbac},
			manifest: `{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: x}, aggregationRule: {}}`, want: Escalation},
		{name: "a listed cluster-scoped kind", policy: desired.Policy{Kinds: []v1alpha1.GroupKind{{Group: "scheduling.k8s.io", Kind: "PriorityClass"}}},
			manifest: `{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: x}}`},
		{name: "a kind by its group's star", policy: desired.Policy{Kinds: []v1alpha1.GroupKind{{Group: "storage.k8s.io", Kind: "*"}}},
			manifest: `{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: x}}`},
		{name: "power over the cluster is not in a star", policy: desired.Policy{Kinds: []v1alpha1.GroupKind{{Group: "admissionregistration.k8s.io", Kind: "*"}}},
			manifest: `{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingWebhookConfiguration, metadata: {name: x}}`, want: ClusterScoped},
		{name: "nor are nodes", policy: desired.Policy{Kinds: []v1alpha1.GroupKind{{Kind: "*"}}},
			manifest: `{apiVersion: v1, kind: Node, metadata: {name: x}}`, want: ClusterScoped},
		{name: "a CRD", manifest: `{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: x.example.com}}`, want: ClusterScoped},
		{name: "an APIService", manifest: `{apiVersion: apiregistration.k8s.io/v1, kind: APIService, metadata: {name: v1.x}}`, want: ClusterScoped},
		{name: "a volume", manifest: `{apiVersion: v1, kind: PersistentVolume, metadata: {name: x}}`, want: ClusterScoped},
		{name: "the hub's own kinds", manifest: `{apiVersion: atoll.dev/v1alpha1, kind: Application, metadata: {name: x}}`, want: ReservedGroup},
		{name: "a question instead of an object", manifest: `{apiVersion: authorization.k8s.io/v1, kind: LocalSubjectAccessReview, metadata: {name: x}}`, want: ReservedGroup},
		{name: "a token that never expires", manifest: `{apiVersion: v1, kind: Secret, metadata: {name: x}, type: kubernetes.io/service-account-token}`, want: TokenSecret},
		{name: "a plain Secret", manifest: `{apiVersion: v1, kind: Secret, metadata: {name: x}, type: Opaque}`},
		{name: "a list", policy: desired.Policy{Privileged: true}, manifest: `{apiVersion: v1, kind: List, metadata: {name: x}, items: []}`, want: ListWrapped},
		{name: "a list of one kind", manifest: `{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBindingList, metadata: {name: x}, items: [{}]}`, want: ListWrapped},
		{name: "a kind that only sounds like a list", manifest: `{apiVersion: apps/v1, kind: AllowList, metadata: {name: x}}`},
		{name: "a kind the member does not know", manifest: `{apiVersion: example.com/v1, kind: Widget, metadata: {name: x}}`, want: UnknownKind},
		{name: "a workload that uses a ServiceAccount", manifest: `{apiVersion: v1, kind: Pod, metadata: {name: x}, spec: {serviceAccountName: builder}}`},
		{name: "a namespace that is no string", manifest: `{apiVersion: v1, kind: ConfigMap, metadata: {name: x, namespace: [kube-system]}}`, want: Malformed},
		{name: "no name", manifest: `{apiVersion: v1, kind: ConfigMap, metadata: {generateName: x-}}`, want: Malformed},
		{name: "no apiVersion", manifest: `{kind: ConfigMap, metadata: {name: x}}`, want: Malformed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := Check(tc.policy, "shop", "shop", []*unstructured.Unstructured{object(t, tc.manifest)}, memberScope)
			if tc.want == "" {
				if len(got) > 0 {
					t.Fatalf("refused: %+v", got)
				}
				return
			}
			if len(got) != 1 || got[0].Reason != tc.want || !strings.Contains(got[0].Message, tc.says) {
				t.Fatalf("got %+v, want %s saying %q", got, tc.want, tc.says)
			}
		})
	}
}

func TestCheckNamesEveryObjectAtFault(t *testing.T) {
	got := Check(desired.Policy{}, "shop", "", []*unstructured.Unstructured{
		object(t, `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}}`),
		object(t, `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: bank}}`),
		nil,
	}, memberScope)
	var names []string
	for _, v := range got {
		names = append(names, v.Reason+" "+v.Object.String())
	}
	want := []string{"NoNamespace Deployment.apps/web", "ForeignNamespace Deployment.apps/web in bank", "Malformed /"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Error(diff)
	}
}

func TestTheHubLearnsScopesFromTheBundle(t *testing.T) {
	scope := HubScope([]*unstructured.Unstructured{
		object(t, `{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: x}, spec: {group: example.com, scope: Cluster, names: {kind: Fleet}}}`),
		object(t, `{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: y}, spec: {group: "", scope: Namespaced, names: {kind: Node}}}`),
	})
	for _, tc := range []struct {
		gk         schema.GroupKind
		namespaced bool
	}{
		{schema.GroupKind{Group: "example.com", Kind: "Fleet"}, false},
		{schema.GroupKind{Group: "example.com", Kind: "Widget"}, true},
		{schema.GroupKind{Kind: "Node"}, false}, // no CRD makes a node namespaced
		{schema.GroupKind{Kind: "Pod"}, true},
	} {
		if namespaced, known := scope(tc.gk); namespaced != tc.namespaced || !known {
			t.Errorf("%s: namespaced %v, known %v", tc.gk, namespaced, known)
		}
	}
}

var served = []Resource{
	{"", "ConfigMap", "configmaps", true}, {"", "Secret", "secrets", true}, {"", "Namespace", "namespaces", false},
	{"", "Node", "nodes", false}, {"", "PersistentVolume", "persistentvolumes", false},
	{"apps", "Deployment", "deployments", true},
	{rbacv1.GroupName, "Role", "roles", true}, {rbacv1.GroupName, "RoleBinding", "rolebindings", true},
	{rbacv1.GroupName, "ClusterRoleBinding", "clusterrolebindings", false},
	{"storage.k8s.io", "StorageClass", "storageclasses", false},
	{"example.com", "Widget", "widgets", true}, {"example.com", "Gadget", "gadgets", false},
	{"atoll.dev", "Application", "applications", true},
	{"authorization.k8s.io", "LocalSubjectAccessReview", "localsubjectaccessreviews", true},
}

func TestProjectRBAC(t *testing.T) {
	got := ProjectRBAC("shop", desired.Policy{Kinds: []v1alpha1.GroupKind{
		{Group: "storage.k8s.io", Kind: "*"}, {Group: rbacv1.GroupName, Kind: "*"}, {Group: rbacv1.GroupName, Kind: "Role"},
	}}, Member{Resources: served, Namespaces: []string{"shop-eu", "shop", "bank", "kube-system", "shop"}})
	want := Access{
		Cluster: []rbacv1.PolicyRule{
			{APIGroups: []string{"storage.k8s.io"}, Resources: []string{"storageclasses"}, Verbs: writeVerbs},
			{APIGroups: []string{""}, Resources: []string{"namespaces"}, ResourceNames: []string{"shop", "shop-eu"}, Verbs: writeVerbs},
		},
		Namespaced: []rbacv1.PolicyRule{
			{APIGroups: []string{""}, Resources: []string{"configmaps", "secrets"}, Verbs: writeVerbs},
			{APIGroups: []string{"apps"}, Resources: []string{"deployments"}, Verbs: writeVerbs},
			{APIGroups: []string{"example.com"}, Resources: []string{"widgets"}, Verbs: writeVerbs},
			{APIGroups: []string{rbacv1.GroupName}, Resources: []string{"roles"}, Verbs: writeVerbs},
		},
		Namespaces: []string{"shop", "shop-eu"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestARuleOnNamespacesAlwaysNamesThem(t *testing.T) {
	got := ProjectRBAC("shop", desired.Policy{Kinds: []v1alpha1.GroupKind{{Kind: "Namespace"}, {Kind: "*"}}}, Member{Resources: served})
	if len(got.Cluster) != 0 {
		t.Errorf("cluster rules without a namespace to own: %+v", got.Cluster)
	}
}
