package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Freeze has clusters told nothing new: no change, no step of a rollout, and
// nobody comes or goes. What runs goes on being kept as it is.
type Freeze struct {
	// Reason is for those who find it later.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Reason string `json:"reason"`
	// By is who froze it.
	// +kubebuilder:validation:MaxLength=253
	By string `json:"by,omitempty"`
	// Since is when.
	Since *metav1.Time `json:"since,omitempty"`
	// Until is when it thaws by itself, by the hub's clock; absent means when
	// the freeze is taken out.
	Until *metav1.Time `json:"until,omitempty"`
}
