package join

import (
	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"atoll.dev/atoll/api/v1alpha1"
)

// BoundsPolicy is the name of the admission policy that keeps an agent with
// profile namespaces from giving itself rights.
const BoundsPolicy = "atoll-agent-bounds"

// bounds holds the right to give rights, which RBAC cannot limit by prefix, to
// the accounts of projects and to plain rights. It needs Kubernetes 1.30.
func bounds() (*admissionv1.ValidatingAdmissionPolicy, *admissionv1.ValidatingAdmissionPolicyBinding) {
	fail := admissionv1.Fail
	policy := &admissionv1.ValidatingAdmissionPolicy{
		TypeMeta:   metav1.TypeMeta{APIVersion: "admissionregistration.k8s.io/v1", Kind: "ValidatingAdmissionPolicy"},
		ObjectMeta: metav1.ObjectMeta{Name: BoundsPolicy, Labels: labels()},
		Spec: admissionv1.ValidatingAdmissionPolicySpec{
			FailurePolicy: &fail,
			MatchConstraints: &admissionv1.MatchResources{ResourceRules: []admissionv1.NamedRuleWithOperations{
				rule("rbac.authorization.k8s.io", "roles", "rolebindings", "clusterroles", "clusterrolebindings"),
				rule("", "namespaces"),
			}},
			MatchConditions: []admissionv1.MatchCondition{{
				Name:       "by-the-agent",
				Expression: `request.userInfo.username == "system:serviceaccount:` + v1alpha1.SystemNamespace + ":" + AgentAccount + `"`,
			}},
			Variables: []admissionv1.Variable{
				{Name: "subject", Expression: `request.operation == "DELETE" ? oldObject : object`},
			},
			Validations: []admissionv1.Validation{
				{
					Expression: `request.kind.kind == "Namespace" || variables.subject.metadata.name.startsWith("` + ProjectPrefix + `")`,
					Message:    "the Atoll agent may only change roles and bindings named " + ProjectPrefix + "*",
				},
				{
					Expression: `request.kind.kind == "Namespace" ? !variables.subject.metadata.name.startsWith("kube-") && variables.subject.metadata.name != "` + v1alpha1.SystemNamespace + `" : !has(request.namespace) || !request.namespace.startsWith("kube-")`,
					Message:    "the Atoll agent may not change the system's namespaces nor give rights there",
				},
				{
					Expression: `request.operation == "DELETE" || !has(object.subjects) || object.subjects.all(s, s.kind == "ServiceAccount" && s.namespace == "` + v1alpha1.SystemNamespace + `" && s.name.startsWith("` + ProjectPrefix + `"))`,
					Message:    "the Atoll agent may only give rights to the accounts of projects",
				},
				{
					Expression: `request.operation == "DELETE" || !has(object.roleRef) || object.roleRef.name.startsWith("` + ProjectPrefix + `")`,
					Message:    "the Atoll agent may only bind the roles of projects",
				},
				{
					Expression: `request.operation == "DELETE" || !has(object.rules) || object.rules.all(r, !has(r.nonResourceURLs) && r.apiGroups.all(g, g != "*" && g != "rbac.authorization.k8s.io") && r.resources.all(x, x != "*" && !x.contains("/")) && r.verbs.all(v, v in ["get", "list", "watch", "create", "update", "patch", "delete"]))`,
					Message:    "the Atoll agent may only give plain rights: no wildcards, subresources, RBAC, impersonate, bind or escalate",
				},
				{
					Expression: `request.operation == "DELETE" || request.kind.kind != "ClusterRoleBinding" || !object.roleRef.name.endsWith("` + InNamespacesSuffix + `")`,
					Message:    "the Atoll agent may bind a project's role only in the project's namespaces",
				},
				{
					Expression: `request.operation == "DELETE" || request.kind.kind != "ClusterRole" || object.metadata.name.endsWith("` + InNamespacesSuffix + `") || !has(object.rules) || object.rules.all(r, r.apiGroups == [""] && r.resources == ["namespaces"] && has(r.resourceNames) && r.resourceNames.all(n, !n.startsWith("kube-")))`,
					Message:    "the Atoll agent may give no rights outside namespaces: it was installed with the profile namespaces",
				},
			},
		},
	}
	binding := &admissionv1.ValidatingAdmissionPolicyBinding{
		TypeMeta:   metav1.TypeMeta{APIVersion: "admissionregistration.k8s.io/v1", Kind: "ValidatingAdmissionPolicyBinding"},
		ObjectMeta: metav1.ObjectMeta{Name: BoundsPolicy, Labels: labels()},
		Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName:        BoundsPolicy,
			ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny},
		},
	}
	return policy, binding
}

func rule(group string, resources ...string) admissionv1.NamedRuleWithOperations {
	return admissionv1.NamedRuleWithOperations{RuleWithOperations: admissionv1.RuleWithOperations{
		Operations: []admissionv1.OperationType{admissionv1.Create, admissionv1.Update, admissionv1.Delete},
		Rule:       admissionv1.Rule{APIGroups: []string{group}, APIVersions: []string{"v1"}, Resources: resources},
	}}
}
