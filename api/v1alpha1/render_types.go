package v1alpha1

import "k8s.io/apimachinery/pkg/runtime"

// HelmOptions say how a chart is rendered.
//
// +kubebuilder:validation:XValidation:rule="!(has(self.skipHooks) && self.skipHooks && has(self.tests) && self.tests)",message="give skipHooks or tests, not both: tests are hooks"
type HelmOptions struct {
	// ReleaseName is .Release.Name; default: the application's name.
	// +kubebuilder:validation:MaxLength=53
	// +kubebuilder:validation:Pattern=`^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$`
	ReleaseName string `json:"releaseName,omitempty"`
	// ValuesFiles are relative to the chart and lie in the same source; later
	// ones win, and all win over the chart's own values.
	// +kubebuilder:validation:MaxItems=64
	// +listType=atomic
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=1024
	ValuesFiles []string `json:"valuesFiles,omitempty"`
	// ValuesFrom are values in Secrets and ConfigMaps beside the Application; later
	// ones win, and all win over the files. What a Secret says may come out in
	// Secrets only: a chart that puts it elsewhere is refused.
	// +kubebuilder:validation:MaxItems=16
	// +listType=atomic
	ValuesFrom []ValuesReference `json:"valuesFrom,omitempty"`
	// Values win over all of these. They lie in clear in the hub: no passwords.
	// +kubebuilder:pruning:PreserveUnknownFields
	Values *runtime.RawExtension `json:"values,omitempty"`
	// APIVersions are ones such as monitoring.coreos.com/v1 that templates are
	// told of beside those that the clusters serve.
	// +kubebuilder:validation:MaxItems=256
	// +listType=atomic
	// +kubebuilder:validation:items:MaxLength=253
	APIVersions []string `json:"apiVersions,omitempty"`
	// SkipHooks delivers a chart without its hooks, which are never run; one that
	// has any beside tests is refused otherwise.
	SkipHooks bool `json:"skipHooks,omitempty"`
	// Tests delivers what `helm test` would run as objects of phase Verify, which
	// try out each content on each cluster. Without it tests are left out.
	Tests bool `json:"tests,omitempty"`
	// SkipCRDs leaves out what lies in crds/.
	SkipCRDs bool `json:"skipCRDs,omitempty"`
}

// ValuesReference names values of a chart, as Flux does.
type ValuesReference struct {
	// +kubebuilder:validation:Enum=Secret;ConfigMap
	Kind string `json:"kind"`
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// ValuesKey is the key of its data; default: values.yaml.
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[-._a-zA-Z0-9]*$`
	ValuesKey string `json:"valuesKey,omitempty"`
	// TargetPath is where among the values it is put, as one string, such as
	// "auth.password"; without it, it is a map of values in YAML.
	// +kubebuilder:validation:MaxLength=250
	// +kubebuilder:validation:Pattern=`^([-_a-zA-Z0-9/]+([.][-_a-zA-Z0-9/]+)*)?$`
	TargetPath string `json:"targetPath,omitempty"`
	// Optional goes on without it while it is not there.
	Optional bool `json:"optional,omitempty"`
}

// KustomizeOptions are laid over a kustomization.
type KustomizeOptions struct {
	// Images replace images by their name.
	// +kubebuilder:validation:MaxItems=256
	// +listType=map
	// +listMapKey=name
	Images []ImageOverride `json:"images,omitempty"`
	// NamePrefix and NameSuffix are put around the names of all objects.
	// +kubebuilder:validation:MaxLength=63
	NamePrefix string `json:"namePrefix,omitempty"`
	// +kubebuilder:validation:MaxLength=63
	NameSuffix string `json:"nameSuffix,omitempty"`
}

// ImageOverride replaces parts of an image.
type ImageOverride struct {
	// Name is the image as written, without its tag.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Name string `json:"name"`
	// +kubebuilder:validation:MaxLength=512
	NewName string `json:"newName,omitempty"`
	// +kubebuilder:validation:MaxLength=128
	NewTag string `json:"newTag,omitempty"`
	// Digest wins over NewTag.
	// +kubebuilder:validation:MaxLength=135
	// +kubebuilder:validation:Pattern=`^(sha256:[0-9a-f]{64})?$`
	Digest string `json:"digest,omitempty"`
}
