package hostile_test

import "strings"

// attempt is one object that no ordinary project may deliver.
type attempt struct {
	name     string
	reason   string
	manifest string
	// onlyPolicy: the member's RBAC cannot tell it from what is allowed.
	onlyPolicy bool
}

// by is the attempt as a project of that name makes it.
func (a attempt) by(project string) attempt {
	a.manifest = strings.ReplaceAll(a.manifest, "pirates", project)
	return a
}

// attempts are made by the project "pirates", which owns pirates and pirates-*.
var attempts = []attempt{
	{"cluster-admin for itself", "ClusterScoped",
		`{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: pirates-admin}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}, subjects: [{kind: ServiceAccount, name: default, namespace: pirates}]}`, false},
	{"a role for the whole cluster", "ClusterScoped",
		`{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: pirates-all, labels: {rbac.authorization.k8s.io/aggregate-to-admin: "true"}}, rules: [{apiGroups: ["*"], resources: ["*"], verbs: ["*"]}]}`, false},
	{"a role in its own namespace", "RBACForbidden",
		`{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: pirates-role, namespace: pirates}, rules: [{apiGroups: [""], resources: [pods/exec], verbs: [create]}]}`, false},
	{"a binding of admin in its own namespace", "RBACForbidden",
		`{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: pirates-binding, namespace: pirates}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: admin}, subjects: [{kind: Group, apiGroup: rbac.authorization.k8s.io, name: "atoll:pirates"}]}`, false},
	{"a binding that bears an agent's name", "ReservedName",
		`{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: atoll-project-bank, namespace: pirates}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: admin}}`, false},
	{"a foreign namespace", "ForeignNamespace",
		`{apiVersion: v1, kind: ConfigMap, metadata: {name: pirates-map, namespace: default}}`, false},
	{"the cluster's namespace", "SystemNamespace",
		`{apiVersion: v1, kind: ConfigMap, metadata: {name: pirates-map, namespace: kube-system}}`, false},
	{"the agent's namespace", "SystemNamespace",
		`{apiVersion: v1, kind: ConfigMap, metadata: {name: pirates-map, namespace: atoll-system}}`, false},
	{"a Namespace beyond its pattern", "ForeignNamespace",
		`{apiVersion: v1, kind: Namespace, metadata: {name: bank}}`, false},
	{"a Namespace that only begins alike", "ForeignNamespace",
		`{apiVersion: v1, kind: Namespace, metadata: {name: piratesbank}}`, false},
	{"a credential that never expires", "TokenSecret",
		`{apiVersion: v1, kind: Secret, type: kubernetes.io/service-account-token, metadata: {name: pirates-token, namespace: pirates, annotations: {kubernetes.io/service-account.name: default}}}`, true},
	{"a webhook that sees everything", "ClusterScoped",
		`{apiVersion: admissionregistration.k8s.io/v1, kind: MutatingWebhookConfiguration, metadata: {name: pirates-hook}, webhooks: []}`, false},
	{"a webhook that refuses everything", "ClusterScoped",
		`{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingWebhookConfiguration, metadata: {name: pirates-hook}, webhooks: []}`, false},
	{"a policy for everybody", "ClusterScoped",
		`{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingAdmissionPolicy, metadata: {name: pirates-policy}, spec: {validations: [{expression: "false"}]}}`, false},
	{"a kind of its own", "ClusterScoped",
		`{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: flags.pirates.example.com}, spec: {group: pirates.example.com, scope: Namespaced, names: {kind: Flag, plural: flags}, versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]}}`, false},
	{"an API server of its own", "ClusterScoped",
		`{apiVersion: apiregistration.k8s.io/v1, kind: APIService, metadata: {name: v1.pirates.example.com}, spec: {group: pirates.example.com, version: v1, groupPriorityMinimum: 100, versionPriority: 100}}`, false},
	{"a certificate of the cluster's", "ClusterScoped",
		`{apiVersion: certificates.k8s.io/v1, kind: CertificateSigningRequest, metadata: {name: pirates-csr}, spec: {signerName: kubernetes.io/kube-apiserver-client, request: YQ==, usages: [client auth]}}`, false},
	{"a node's disk", "ClusterScoped",
		`{apiVersion: v1, kind: PersistentVolume, metadata: {name: pirates-volume}, spec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], hostPath: {path: /}}}`, false},
	{"a precedence over all pods", "ClusterScoped",
		`{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: pirates-first}, value: 1000000000}`, false},
	{"a question about tokens", "ReservedGroup",
		`{apiVersion: authentication.k8s.io/v1, kind: TokenReview, metadata: {name: pirates-review}, spec: {token: x}}`, false},
	{"the hub's own kind", "ReservedGroup",
		`{apiVersion: atoll.dev/v1alpha1, kind: Project, metadata: {name: pirates-project}, spec: {privileged: true}}`, true},
}
