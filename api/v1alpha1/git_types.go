package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// GitSource is a folder of a Git repository.
//
// +kubebuilder:validation:XValidation:rule="!has(self.interval) || duration(self.interval) >= duration('10s')",fieldPath=".interval",message="asking more often than every 10s is not allowed"
type GitSource struct {
	// URL is https://HOST/PATH, ssh://USER@HOST/PATH or USER@HOST:PATH.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	URL string `json:"url"`
	// Ref says which commit; default: where the repository's HEAD points.
	Ref GitRef `json:"ref,omitempty"`
	// Path is the folder of the manifests; default: the whole repository.
	// +kubebuilder:validation:MaxLength=1024
	Path string `json:"path,omitempty"`
	// SecretRef names a Secret beside the Application: username and password,
	// bearerToken, or identity and known_hosts; and ca.crt.
	SecretRef *SecretReference `json:"secretRef,omitempty"`
	// Interval is how often the repository is asked; at least 10s, default 60s.
	Interval *metav1.Duration `json:"interval,omitempty"`
	// Verify says whose signature a commit must have, by ssh or OpenPGP.
	Verify *Verification `json:"verify,omitempty"`
}

// SecretReference names a Secret in the same namespace.
type SecretReference struct {
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}

// GitRef chooses a commit, by at most one of its fields.
//
// +kubebuilder:validation:XValidation:rule="[has(self.branch), has(self.tag), has(self.semver), has(self.commit)].filter(given, given).size() <= 1",message="give at most one of branch, tag, semver and commit"
type GitRef struct {
	// +kubebuilder:validation:MaxLength=255
	Branch string `json:"branch,omitempty"`
	// +kubebuilder:validation:MaxLength=255
	Tag string `json:"tag,omitempty"`
	// Semver is a range, such as ">=1.2.0 <2.0.0": the highest tag in it.
	// +kubebuilder:validation:MaxLength=255
	Semver string `json:"semver,omitempty"`
	// Commit is a whole commit ID: 40 hex digits.
	// +kubebuilder:validation:Pattern=`^([0-9a-f]{40})?$`
	Commit string `json:"commit,omitempty"`
}

// FetchedSource is what the hub took from a source that it follows.
type FetchedSource struct {
	// Of names by digest the source, as the spec gave it, that the rest is of.
	// +kubebuilder:validation:MaxLength=71
	Of string `json:"of"`
	// Digest is of the content that the newest good commit holds.
	// +kubebuilder:validation:MaxLength=71
	Digest string `json:"digest,omitempty"`
	// Variants are what it was rendered to where that is not the same for all
	// clusters; Digest is then the first one's.
	// +kubebuilder:validation:MaxItems=32
	// +listType=atomic
	Variants []RenderVariant `json:"variants,omitempty"`
	// Fleet names by digest what was known of the clusters when a chart asked for
	// it; when that changes, it is rendered again. Empty when nothing was asked.
	// +kubebuilder:validation:MaxLength=71
	Fleet string `json:"fleet,omitempty"`
	// Values names by digest the versions of what spec.source.helm.valuesFrom
	// names; when that changes, it is rendered again.
	// +kubebuilder:validation:MaxLength=71
	Values string `json:"values,omitempty"`
	// Renders is how many times it was rendered for all its clusters: once for
	// each class of those.
	Renders int32 `json:"renders,omitempty"`
	// Commit is the newest one whose content was good.
	Commit *Commit `json:"commit,omitempty"`
	// Refused is a newer commit whose content was not.
	Refused *RefusedCommit `json:"refused,omitempty"`
}

// Commit is one commit, chart or artifact, as its origin tells.
type Commit struct {
	// ID is "sha1:" and 40 hex digits of a commit, "sha256:" and 64 of a chart's
	// archive or of a manifest in a registry.
	// +kubebuilder:validation:MaxLength=128
	ID string `json:"id"`
	// Ref is what led to it, such as "refs/heads/main", or a version, or a tag.
	// +kubebuilder:validation:MaxLength=300
	Ref string `json:"ref,omitempty"`
	// Author is NAME <ADDRESS>, as the commit claims.
	// +kubebuilder:validation:MaxLength=512
	Author string `json:"author,omitempty"`
	// Message is the first line.
	// +kubebuilder:validation:MaxLength=512
	Message string `json:"message,omitempty"`
	// Chart is the name and version of the chart that was rendered.
	// +kubebuilder:validation:MaxLength=512
	Chart string `json:"chart,omitempty"`
	// Time is when it was committed, or is said to have been made.
	Time *metav1.Time `json:"time,omitempty"`
	// Replaces is the commit that the reference led to before, when history was
	// rewritten and no longer holds it.
	// +kubebuilder:validation:MaxLength=128
	Replaces string `json:"replaces,omitempty"`
	// Source and SourceRevision are what an artifact says that it was made of.
	// +kubebuilder:validation:MaxLength=512
	Source string `json:"source,omitempty"`
	// +kubebuilder:validation:MaxLength=512
	SourceRevision string `json:"sourceRevision,omitempty"`
	// Verified is set where a signature was asked for.
	Verified *Verified `json:"verified,omitempty"`
}

// RefusedCommit is a commit, chart or artifact whose content cannot be delivered.
type RefusedCommit struct {
	// +kubebuilder:validation:MaxLength=128
	ID string `json:"id"`
	// Reason is one word, such as SourceEmpty.
	// +kubebuilder:validation:MaxLength=64
	Reason string `json:"reason"`
	// +kubebuilder:validation:MaxLength=2048
	Message string `json:"message"`
}
