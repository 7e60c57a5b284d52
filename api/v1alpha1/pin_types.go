package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Pin keeps an application at a Revision, whatever its source says, on all its
// clusters or on some. A pin for all travels as any change does; one for some
// clusters reaches them at once and keeps rollouts away from them.
type Pin struct {
	// Revision is the name of a Revision of this application.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Revision string `json:"revision"`
	// Clusters by name; none means all. Where several pins name a cluster, the
	// first one counts.
	// +kubebuilder:validation:MaxItems=64
	// +listType=set
	// +kubebuilder:validation:items:MaxLength=63
	Clusters []string `json:"clusters,omitempty"`
	// Reason is for those who find it later.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Reason string `json:"reason"`
	// By is who pinned it.
	// +kubebuilder:validation:MaxLength=253
	By string `json:"by,omitempty"`
	// Since is when.
	Since *metav1.Time `json:"since,omitempty"`
	// Expires is when the pin counts no more; absent means when it is taken out.
	Expires *metav1.Time `json:"expires,omitempty"`
}
