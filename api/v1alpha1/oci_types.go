package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// OCISource is a folder of an artifact in a registry, as Flux and ORAS push it.
//
// +kubebuilder:validation:XValidation:rule="!has(self.interval) || duration(self.interval) >= duration('10s')",fieldPath=".interval",message="asking more often than every 10s is not allowed"
type OCISource struct {
	// URL is oci://HOST/REPOSITORY.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	URL string `json:"url"`
	// Ref says which artifact; default: the tag latest.
	Ref OCIRef `json:"ref,omitempty"`
	// Path is the folder of the manifests; default: all of the artifact.
	// +kubebuilder:validation:MaxLength=1024
	Path string `json:"path,omitempty"`
	// SecretRef names a Secret beside the Application: .dockerconfigjson, username
	// and password, or bearerToken; and ca.crt.
	SecretRef *SecretReference `json:"secretRef,omitempty"`
	// Interval is how often the registry is asked; at least 10s, default 60s.
	Interval *metav1.Duration `json:"interval,omitempty"`
	// Verify says whose signature an artifact must have.
	Verify *Verification `json:"verify,omitempty"`
}

// OCIRef chooses an artifact, by at most one of its fields.
//
// +kubebuilder:validation:XValidation:rule="[has(self.tag), has(self.semver), has(self.digest)].filter(given, given).size() <= 1",message="give at most one of tag, semver and digest"
type OCIRef struct {
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^([A-Za-z0-9_][-A-Za-z0-9_.]*)?$`
	Tag string `json:"tag,omitempty"`
	// Semver is a range, such as ">=1.2.0 <2.0.0": the highest tag in it.
	// +kubebuilder:validation:MaxLength=255
	Semver string `json:"semver,omitempty"`
	// Digest is "sha256:" and 64 hex digits, of a manifest.
	// +kubebuilder:validation:MaxLength=71
	// +kubebuilder:validation:Pattern=`^(sha256:[0-9a-f]{64})?$`
	Digest string `json:"digest,omitempty"`
}

// Verification has nothing taken in that is not signed.
type Verification struct {
	// SecretRef names a Secret beside the Application, with public keys of which
	// one must have signed: in PEM, in cosign.pub or whatever else ends in .pub; for
	// Git those of ssh in allowed_signers, and of OpenPGP in what ends in .asc.
	SecretRef SecretReference `json:"secretRef"`
}

// Verified says with which key a signature was found good.
type Verified struct {
	// Secret and Key are where the public key was.
	// +kubebuilder:validation:MaxLength=253
	Secret string `json:"secret"`
	// +kubebuilder:validation:MaxLength=253
	Key string `json:"key"`
	// Fingerprint is "sha256:" and the digest of the public key, or "openpgp:" and
	// its fingerprint.
	// +kubebuilder:validation:MaxLength=128
	Fingerprint string `json:"fingerprint"`
}
