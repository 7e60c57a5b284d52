package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Revision is immutable content of an Application, recorded by the hub once
// the content is durable. Its name is APPLICATION-DIGEST12.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:shortName=atrev,categories=atoll
// +kubebuilder:printcolumn:name="Application",type=string,JSONPath=`.spec.application`
// +kubebuilder:printcolumn:name="Objects",type=integer,JSONPath=`.spec.objects`
// +kubebuilder:printcolumn:name="Bytes",type=integer,JSONPath=`.spec.bytes`
// +kubebuilder:printcolumn:name="Digest",type=string,priority=1,JSONPath=`.spec.digest`
// +kubebuilder:printcolumn:name="Origin",type=string,JSONPath=`.spec.origin`
// +kubebuilder:printcolumn:name="Commit",type=string,JSONPath=`.spec.commit.message`
// +kubebuilder:printcolumn:name="By",type=string,priority=1,JSONPath=`.spec.commit.author`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="self.metadata.name == self.spec.application + '-' + self.spec.digest.substring(7, 19)",message="metadata.name: must be the application, '-' and the first twelve digits of the digest"
type Revision struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="a Revision never changes"
	Spec RevisionSpec `json:"spec"`
}

// RevisionSpec names content by digest; it never holds it.
type RevisionSpec struct {
	// +kubebuilder:validation:MaxLength=53
	// +kubebuilder:validation:Pattern=`^[a-z]([-a-z0-9]*[a-z0-9])?$`
	Application string `json:"application"`
	// Digest is of the rendered content: "sha256:" and 64 hex digits. With
	// variants or overrides it is of all of them together.
	// +kubebuilder:validation:Pattern=`^sha256:[0-9a-f]{64}$`
	// +kubebuilder:validation:MaxLength=71
	Digest string `json:"digest"`
	// Content is the digest of the content under the overrides; absent without
	// any, and without variants, when it is Digest.
	// +kubebuilder:validation:Pattern=`^(sha256:[0-9a-f]{64})?$`
	// +kubebuilder:validation:MaxLength=71
	Content string `json:"content,omitempty"`
	// Variants are what the source was rendered to for classes of clusters, where
	// that was not the same for all; Content is the first one's.
	// +kubebuilder:validation:MaxItems=32
	// +listType=atomic
	Variants []RenderVariant `json:"variants,omitempty"`
	// Overrides are those of the Application at that time: what a cluster gets of
	// this revision follows from its labels.
	// +kubebuilder:validation:MaxItems=64
	// +listType=atomic
	Overrides []Override `json:"overrides,omitempty"`
	// +kubebuilder:validation:Minimum=0
	Objects int32 `json:"objects"`
	// Bytes is the size of the rendered content, uncompressed.
	// +kubebuilder:validation:Minimum=0
	Bytes int64 `json:"bytes"`
	// Secrets counts the Secrets whose values were split out.
	// +kubebuilder:validation:Minimum=0
	Secrets int32 `json:"secrets,omitempty"`
	// +kubebuilder:validation:MaxLength=1024
	Origin string `json:"origin,omitempty"`
	// Author is who uploaded the content, as the hub authenticated them; absent for
	// what the hub follows, and where the hub that took the upload has ended since.
	// +kubebuilder:validation:MaxLength=1024
	Author string `json:"author,omitempty"`
	// Commit is what the content was rendered from, when it came from Git; of
	// several commits with one content, the first.
	Commit *Commit `json:"commit,omitempty"`
}

// RevisionList is a list of Revisions.
//
// +kubebuilder:object:root=true
type RevisionList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []Revision `json:"items"`
}
