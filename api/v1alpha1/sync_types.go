package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Sync is how agents go about applying an application.
type Sync struct {
	// Retry says when an object is tried again that could not be applied; absent
	// means soon, then ever less often, and without end.
	Retry *Retry `json:"retry,omitempty"`
}

// Retry counts for each object on each cluster, and begins anew when something else
// is asked for, or by a forced sync.
type Retry struct {
	// Limit is how often an object is tried again after it failed; absent means
	// without end, 0 not at all. What never reached the member's API server does
	// not count.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	Limit *int32 `json:"limit,omitempty"`
	// Backoff is how long to wait before.
	Backoff *Backoff `json:"backoff,omitempty"`
}

// Backoff is a wait that grows.
type Backoff struct {
	// Duration is the first wait, 100ms to 24h. Default: 5s.
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('100ms') && duration(self) <= duration('24h')",message="give 100ms to 24h"
	Duration *metav1.Duration `json:"duration,omitempty"`
	// Factor is by how much each further wait is longer. Default: 2.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10
	Factor *int32 `json:"factor,omitempty"`
	// MaxDuration is the longest wait, 100ms to 24h. Default: 3m, or Duration where
	// that is longer.
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('100ms') && duration(self) <= duration('24h')",message="give 100ms to 24h"
	MaxDuration *metav1.Duration `json:"maxDuration,omitempty"`
}
