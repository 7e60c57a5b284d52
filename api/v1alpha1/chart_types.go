package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// ChartSource is a chart of a Helm repository or of a registry.
//
// +kubebuilder:validation:XValidation:rule="!has(self.interval) || duration(self.interval) >= duration('10s')",fieldPath=".interval",message="asking more often than every 10s is not allowed"
// +kubebuilder:validation:XValidation:rule="!has(self.verify) || self.repository.startsWith('oci://')",message="verify is for charts in a registry, oci://…; a Helm repository keeps no such signatures"
type ChartSource struct {
	// Repository is https://HOST/PATH, below which index.yaml lies, or
	// oci://HOST/PATH, below which charts lie in a registry.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	Repository string `json:"repository"`
	// Name is the chart's.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=250
	Name string `json:"name"`
	// Version is one, such as "1.2.3", or a range, such as ">=1.2.0 <2.0.0":
	// the highest in it; default: the highest that is no prerelease.
	// +kubebuilder:validation:MaxLength=255
	Version string `json:"version,omitempty"`
	// SecretRef names a Secret beside the Application: username and password,
	// bearerToken, or for registries .dockerconfigjson; and ca.crt.
	SecretRef *SecretReference `json:"secretRef,omitempty"`
	// Interval is how often the repository is asked; at least 10s, default 60s.
	Interval *metav1.Duration `json:"interval,omitempty"`
	// Verify says whose signature a chart in a registry must have.
	Verify *Verification `json:"verify,omitempty"`
}
