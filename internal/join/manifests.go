package join

import (
	"bytes"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"atoll.dev/atoll/api/v1alpha1"
)

// Manifests are everything to apply to the member, in an order that works.
func Manifests(t Ticket, p v1alpha1.Profile, image string) ([]*unstructured.Unstructured, error) {
	if err := t.Check(); err != nil {
		return nil, fmt.Errorf("install the agent of %s: %w", t.Cluster, err)
	}
	objects := append([]runtime.Object{namespace()}, Access(p)...)
	objects = append(objects, limits(), quiet(), bootstrap(t), deployment(image))
	out := make([]*unstructured.Unstructured, 0, len(objects))
	for _, o := range objects {
		u, err := Plain(o)
		if err != nil {
			return nil, fmt.Errorf("install the agent of %s: %w", t.Cluster, err)
		}
		out = append(out, u)
	}
	return out, nil
}

// Plain is an object as people write it, without the empty fields of Go types.
func Plain(o runtime.Object) (*unstructured.Unstructured, error) {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		return nil, fmt.Errorf("encode %T: %w", o, err)
	}
	u := &unstructured.Unstructured{Object: content}
	delete(u.Object, "status")
	unstructured.RemoveNestedField(u.Object, "metadata", "creationTimestamp")
	unstructured.RemoveNestedField(u.Object, "spec", "template", "metadata", "creationTimestamp")
	return u, nil
}

// Encode is the objects as one YAML stream.
func Encode(objects []*unstructured.Unstructured) ([]byte, error) {
	var b bytes.Buffer
	for _, o := range objects {
		data, err := yaml.Marshal(o.Object)
		if err != nil {
			return nil, fmt.Errorf("encode %s %s: %w", o.GetKind(), o.GetName(), err)
		}
		b.WriteString("---\n")
		b.Write(data)
	}
	return b.Bytes(), nil
}

// Access is the accounts and their rights.
func Access(p v1alpha1.Profile) []runtime.Object {
	objects := []runtime.Object{
		account(AgentAccount), account(TunnelAccount),
		clusterRole(AgentAccount, ClusterRules(p)), clusterBinding(AgentAccount, AgentAccount, AgentAccount),
		systemRole(p), systemBinding(),
		clusterRole(TunnelAccount, TunnelRules()), clusterBinding(TunnelAccount, TunnelAccount, TunnelAccount),
	}
	switch p {
	case v1alpha1.ProfileRead:
		// Operators add their kinds to the built-in role, which has no Secrets.
		objects = append(objects, clusterBinding(AgentAccount+"-view", "view", AgentAccount))
	case v1alpha1.ProfileNamespaces:
		policy, binding := bounds()
		objects = append(objects, policy, binding)
	}
	return objects
}

// TunnelAccess is the namespace and the tunnel's account alone, for a member
// that the hub reaches by kubeconfig.
func TunnelAccess() []runtime.Object {
	return []runtime.Object{
		namespace(), account(TunnelAccount),
		clusterRole(TunnelAccount, TunnelRules()), clusterBinding(TunnelAccount, TunnelAccount, TunnelAccount),
	}
}

func labels() map[string]string {
	return map[string]string{"app.kubernetes.io/name": AgentAccount, "app.kubernetes.io/part-of": "atoll"}
}

func own(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: name, Namespace: v1alpha1.SystemNamespace, Labels: labels()}
}

func namespace() *corev1.Namespace {
	l := labels()
	l["pod-security.kubernetes.io/enforce"] = "restricted"
	return &corev1.Namespace{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"},
		ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.SystemNamespace, Labels: l},
	}
}

func account(name string) *corev1.ServiceAccount {
	no := false
	a := &corev1.ServiceAccount{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ServiceAccount"}, ObjectMeta: own(name)}
	if name != AgentAccount {
		a.AutomountServiceAccountToken = &no
	}
	return a
}

func clusterRole(name string, rules []rbacv1.PolicyRule) *rbacv1.ClusterRole {
	return &rbacv1.ClusterRole{
		TypeMeta:   metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "ClusterRole"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels()},
		Rules:      rules,
	}
}

func clusterBinding(name, role, account string) *rbacv1.ClusterRoleBinding {
	return &rbacv1.ClusterRoleBinding{
		TypeMeta:   metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "ClusterRoleBinding"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels()},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: account, Namespace: v1alpha1.SystemNamespace}},
	}
}

func systemRole(p v1alpha1.Profile) *rbacv1.Role {
	return &rbacv1.Role{
		TypeMeta:   metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "Role"},
		ObjectMeta: own(AgentAccount),
		Rules:      SystemRules(p),
	}
}

func systemBinding() *rbacv1.RoleBinding {
	return &rbacv1.RoleBinding{
		TypeMeta:   metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "RoleBinding"},
		ObjectMeta: own(AgentAccount),
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: AgentAccount},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: AgentAccount, Namespace: v1alpha1.SystemNamespace}},
	}
}

// limits has no data, so that applying the manifests again keeps the member's.
func limits() *corev1.ConfigMap {
	return &corev1.ConfigMap{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"}, ObjectMeta: own(LimitsConfigMap)}
}

// quiet closes every inbound port: the agent only dials out.
func quiet() *networkingv1.NetworkPolicy {
	return &networkingv1.NetworkPolicy{
		TypeMeta:   metav1.TypeMeta{APIVersion: networkingv1.SchemeGroupVersion.String(), Kind: "NetworkPolicy"},
		ObjectMeta: own(AgentAccount),
		Spec:       networkingv1.NetworkPolicySpec{PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}},
	}
}

func bootstrap(t Ticket) *corev1.Secret {
	return &corev1.Secret{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: own(BootstrapSecret),
		Type:       corev1.SecretTypeOpaque,
		StringData: map[string]string{KeyCluster: t.Cluster, KeyToken: t.Token, KeyAddress: t.Address, KeyRoots: t.Roots},
	}
}
