package v1alpha1

import "k8s.io/apimachinery/pkg/runtime"

// Override changes what some of the clusters get of an application. But for
// values it is laid over what the source says, after it was rendered.
//
// +kubebuilder:validation:XValidation:rule="(has(self.patches) && size(self.patches) > 0) || (has(self.images) && size(self.images) > 0) || (has(self.replicas) && size(self.replicas) > 0) || has(self.values)",message="give values, patches, images or replicas"
type Override struct {
	// Clusters is a label selector in kubectl's syntax.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Clusters string `json:"clusters"`
	// Values of a chart, over those of the source. They lie in clear in the hub: no
	// passwords.
	// +kubebuilder:pruning:PreserveUnknownFields
	Values *runtime.RawExtension `json:"values,omitempty"`
	// Patches change objects; first of all, and in this order.
	// +kubebuilder:validation:MaxItems=16
	// +listType=atomic
	Patches []ObjectPatch `json:"patches,omitempty"`
	// Images replace images by their name, in every container.
	// +kubebuilder:validation:MaxItems=32
	// +listType=map
	// +listMapKey=name
	Images []ImageOverride `json:"images,omitempty"`
	// Replicas set how many pods a Deployment, StatefulSet, ReplicaSet or
	// ReplicationController of a name has.
	// +kubebuilder:validation:MaxItems=32
	// +listType=map
	// +listMapKey=name
	Replicas []ReplicaOverride `json:"replicas,omitempty"`
}

// ObjectPatch changes the objects that its target matches; at least one must.
type ObjectPatch struct {
	Target PatchTarget `json:"target"`
	// Patch is YAML: a strategic merge patch (for kinds that Kubernetes does not
	// know, a merge patch), or a list of JSON 6902 operations. It lies in clear in
	// the hub: no passwords.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=16384
	Patch string `json:"patch"`
}

// PatchTarget selects objects; empty parts match everything.
type PatchTarget struct {
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$`
	Group string `json:"group,omitempty"`
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[A-Z][A-Za-z0-9]*$`
	Kind string `json:"kind"`
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`
	// Namespace as the manifest gives it.
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace,omitempty"`
}

// ReplicaOverride sets a number of pods.
type ReplicaOverride struct {
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100000
	Count int32 `json:"count"`
}

// Variant is the content that clusters get which match the same overrides.
type Variant struct {
	// Content is its digest.
	// +kubebuilder:validation:Pattern=`^sha256:[0-9a-f]{64}$`
	Content string `json:"content"`
	// Under is what the overrides lie over where the source is rendered to several
	// things.
	// +kubebuilder:validation:Pattern=`^(sha256:[0-9a-f]{64})?$`
	// +kubebuilder:validation:MaxLength=71
	Under string `json:"under,omitempty"`
	// Overrides are the places of those overrides in the list, from 0; none for
	// what the source itself says.
	// +listType=atomic
	Overrides []int32 `json:"overrides,omitempty"`
	// Clusters is how many they are.
	Clusters int32 `json:"clusters"`
}

// RenderVariant is what a source is rendered to for a class of clusters: those
// that match the same overrides with values, and that answer alike what was
// asked of them.
type RenderVariant struct {
	// Content is its digest.
	// +kubebuilder:validation:Pattern=`^sha256:[0-9a-f]{64}$`
	// +kubebuilder:validation:MaxLength=71
	Content string `json:"content"`
	// Overrides are the places of the overrides whose values count, from 0.
	// +kubebuilder:validation:MaxItems=64
	// +listType=atomic
	Overrides []int32 `json:"overrides,omitempty"`
	// Asked is what templates asked of Kubernetes, and the answers.
	// +kubebuilder:validation:MaxItems=256
	// +listType=atomic
	Asked []Answer `json:"asked,omitempty"`
}

// Answer is what the clusters of a class say to one question.
type Answer struct {
	// +kubebuilder:validation:MaxLength=64
	What string `json:"what"`
	// +kubebuilder:validation:MaxLength=512
	Arg string `json:"arg,omitempty"`
	// Answer is given by digest where it is long.
	// +kubebuilder:validation:MaxLength=128
	Answer string `json:"answer,omitempty"`
}
