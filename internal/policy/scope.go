package policy

import (
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// clusterKinds are the cluster-scoped kinds of Kubernetes itself, by group.
var clusterKinds = map[string]string{
	"":                             "ComponentStatus Namespace Node PersistentVolume",
	"admissionregistration.k8s.io": "MutatingAdmissionPolicy MutatingAdmissionPolicyBinding MutatingWebhookConfiguration ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding ValidatingWebhookConfiguration",
	"apiextensions.k8s.io":         "CustomResourceDefinition",
	"apiregistration.k8s.io":       "APIService",
	"authentication.k8s.io":        "SelfSubjectReview TokenReview",
	"authorization.k8s.io":         "SelfSubjectAccessReview SelfSubjectRulesReview SubjectAccessReview",
	"certificates.k8s.io":          "CertificateSigningRequest ClusterTrustBundle",
	"flowcontrol.apiserver.k8s.io": "FlowSchema PriorityLevelConfiguration",
	"gateway.networking.k8s.io":    "GatewayClass",
	"internal.apiserver.k8s.io":    "StorageVersion",
	"networking.k8s.io":            "IPAddress IngressClass ServiceCIDR",
	"node.k8s.io":                  "RuntimeClass",
	"policy.networking.k8s.io":     "AdminNetworkPolicy BaselineAdminNetworkPolicy ClusterNetworkPolicy",
	"rbac.authorization.k8s.io":    "ClusterRole ClusterRoleBinding",
	"resource.k8s.io":              "DeviceClass DeviceTaintRule ResourceSlice",
	"scheduling.k8s.io":            "PriorityClass",
	"snapshot.storage.k8s.io":      "VolumeSnapshotClass VolumeSnapshotContent",
	"storage.k8s.io":               "CSIDriver CSINode StorageClass VolumeAttachment VolumeAttributesClass",
	"storagemigration.k8s.io":      "StorageVersionMigration",
}

// HubScope is the Scope for a hub, which knows Kubernetes' own kinds and the
// CRDs delivered beside the objects. A kind it has never heard of counts as
// namespaced: the objects' namespaces are checked here, and the member, which
// knows the kind, refuses it if it is cluster-scoped after all.
func HubScope(objs []*unstructured.Unstructured) Scope {
	declared := map[schema.GroupKind]bool{}
	for _, obj := range objs {
		if obj.GetKind() != "CustomResourceDefinition" || !strings.HasPrefix(obj.GetAPIVersion(), "apiextensions.k8s.io/") {
			continue
		}
		gk := schema.GroupKind{Group: text(obj.Object, "spec", "group"), Kind: text(obj.Object, "spec", "names", "kind")}
		declared[gk] = text(obj.Object, "spec", "scope") != "Cluster"
	}
	return func(gk schema.GroupKind) (namespaced, known bool) {
		if clusterScoped(gk) {
			return false, true
		}
		if namespaced, ok := declared[gk]; ok {
			return namespaced, true
		}
		return true, true
	}
}

func clusterScoped(gk schema.GroupKind) bool {
	for _, kind := range strings.Fields(clusterKinds[gk.Group]) {
		if kind == gk.Kind {
			return true
		}
	}
	return false
}
