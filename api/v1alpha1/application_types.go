package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Application says what runs; with its own placement it is the short form of
// an environment of the same name with one member.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:shortName=atapp,categories=atoll
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Clusters",type=integer,JSONPath=`.status.counts.placed`
// +kubebuilder:printcolumn:name="In-Sync",type=integer,JSONPath=`.status.counts.inSync`
// +kubebuilder:printcolumn:name="Healthy",type=integer,JSONPath=`.status.counts.healthy`
// +kubebuilder:printcolumn:name="Synced",type=string,JSONPath=`.status.conditions[?(@.type=="Synced")].status`
// +kubebuilder:printcolumn:name="Health",type=string,JSONPath=`.status.conditions[?(@.type=="Healthy")].status`
// +kubebuilder:printcolumn:name="Revision",type=string,JSONPath=`.status.revision`
// +kubebuilder:printcolumn:name="As-Of",type=date,JSONPath=`.status.asOf`
// +kubebuilder:printcolumn:name="Reason",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 53 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",message="metadata.name: an application's name is a DNS label of at most 53 characters"
type Application struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   ApplicationSpec   `json:"spec"`
	Status ApplicationStatus `json:"status,omitempty"`
}

// ApplicationSpec is the source, where it goes and how it is kept.
//
// +kubebuilder:validation:XValidation:rule="!has(self.variables) || size(self.variables) == 0 || (has(self.lateBinding) && self.lateBinding)",fieldPath=".variables",message="variables are only bound with lateBinding: true; set it or remove them"
type ApplicationSpec struct {
	Source Source `json:"source"`
	// Placement says where; absent means nowhere yet.
	Placement *ApplicationPlacement `json:"placement,omitempty"`
	// Namespace in the member for objects that name none; default: the
	// application's name when the project may own it, else the project's name.
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$')",message="must be a namespace: lower-case letters, digits and '-', with a letter or digit at both ends"
	// +kubebuilder:validation:XValidation:rule="self != 'atoll-system'",message="atoll-system belongs to the agent; nothing is delivered there"
	Namespace string `json:"namespace,omitempty"`
	// Rollout says how a change travels over the clusters; absent means that all
	// are told at once.
	Rollout *Rollout `json:"rollout,omitempty"`
	// Overrides change what some clusters get, in this order: where two say
	// different things of one field, the later wins.
	// +kubebuilder:validation:MaxItems=64
	// +listType=atomic
	Overrides []Override `json:"overrides,omitempty"`
	// Pins keep it at revisions, whatever its source says.
	// +kubebuilder:validation:MaxItems=64
	// +listType=atomic
	Pins []Pin `json:"pins,omitempty"`
	// Sync says how agents go about applying it.
	Sync *Sync `json:"sync,omitempty"`
	// Drift says what happens when someone else changes a delivered field.
	Drift Drift `json:"drift,omitempty"`
	// DependsOn are applications of the same project. On each cluster that runs
	// them, what is new here waits until they are in sync and healthy.
	// +kubebuilder:validation:MaxItems=16
	// +listType=map
	// +listMapKey=application
	DependsOn []Dependency `json:"dependsOn,omitempty"`
	// OnDelete says what happens to the objects when the application is
	// deleted or leaves a cluster.
	// +kubebuilder:validation:Enum=Orphan;Delete
	// +kubebuilder:default=Orphan
	OnDelete DeletionPolicy `json:"onDelete,omitempty"`
	// Adopt takes over objects that exist already, without a restart.
	Adopt bool `json:"adopt,omitempty"`
	// LateBinding replaces ${atoll:cluster.…} and ${atoll:var.…} inside string
	// values on each cluster; "$${atoll:" escapes.
	LateBinding bool `json:"lateBinding,omitempty"`
	// Freeze has its clusters told nothing new.
	Freeze *Freeze `json:"freeze,omitempty"`
	// Variables are the values of ${atoll:var.NAME}.
	// +kubebuilder:validation:MaxProperties=256
	// +kubebuilder:validation:XValidation:rule="self.all(k, size(k) <= 253 && size(self[k]) <= 4096)",message="a variable's name has at most 253 characters and its value at most 4096"
	Variables map[string]string `json:"variables,omitempty"`
	// Health adds rules for kinds whose health Kubernetes' conventions do not tell.
	// +kubebuilder:validation:MaxItems=64
	// +listType=atomic
	Health []HealthRule `json:"health,omitempty"`
}

// Source is where the manifests come from: exactly one of its fields.
//
// +kubebuilder:validation:XValidation:rule="[has(self.inline), has(self.content), has(self.git), has(self.chart), has(self.oci)].filter(given, given).size() == 1",message="give exactly one of inline, content, git, chart and oci"
// +kubebuilder:validation:XValidation:rule="!has(self.helm) || has(self.git) || has(self.chart) || has(self.oci)",message="helm says how a chart of git, chart or oci is rendered"
// +kubebuilder:validation:XValidation:rule="!has(self.kustomize) || has(self.git) || has(self.oci)",message="kustomize says how a folder of git or oci is rendered"
// +kubebuilder:validation:XValidation:rule="!has(self.helm) || !has(self.kustomize)",message="give helm or kustomize, as the folder is"
type Source struct {
	// Inline is YAML of at most 256 KiB without Secret values.
	// +kubebuilder:validation:MaxLength=262144
	Inline string `json:"inline,omitempty"`
	// Content is an upload made by `atoll deploy -f`.
	Content *ContentSource `json:"content,omitempty"`
	// Git is a folder of a Git repository, which the hub follows.
	Git *GitSource `json:"git,omitempty"`
	// Chart is a chart of a Helm repository or registry, which the hub follows.
	Chart *ChartSource `json:"chart,omitempty"`
	// OCI is an artifact in a registry, which the hub follows.
	OCI *OCISource `json:"oci,omitempty"`
	// Helm says how a chart in the folder is rendered; without it the folder is
	// told by what lies in it.
	Helm *HelmOptions `json:"helm,omitempty"`
	// Kustomize says how a kustomization in the folder is built.
	Kustomize *KustomizeOptions `json:"kustomize,omitempty"`
}

// ContentSource refers to content that the hub already stores.
type ContentSource struct {
	// Digest is "sha256:" and 64 hex digits.
	// +kubebuilder:validation:Pattern=`^sha256:[0-9a-f]{64}$`
	Digest string `json:"digest"`
	// Origin tells people where it came from, such as a path.
	// +kubebuilder:validation:MaxLength=1024
	Origin string `json:"origin,omitempty"`
}

// ApplicationPlacement is a rule, or the name of one.
//
// +kubebuilder:validation:XValidation:rule="(has(self.hub) && self.hub) || (has(self.ref) && size(self.ref) > 0) || (has(self.names) && size(self.names) > 0) || (has(self.clusters) && size(self.clusters) > 0) || (has(self.where) && size(self.where) > 0)",message="give names, clusters (a label selector), where, the ref of a Placement, or hub; to mean every cluster say where: \"true\""
// +kubebuilder:validation:XValidation:rule="!has(self.hub) || !self.hub || (!has(self.ref) && !has(self.names) && !has(self.clusters) && !has(self.where) && !has(self.count) && !has(self.tolerations) && !has(self.residency))",message="hub is one place and stands alone; remove ref, names, clusters, where, count, tolerations and residency"
// +kubebuilder:validation:XValidation:rule="!has(self.ref) || (!has(self.names) && !has(self.clusters) && !has(self.where) && !has(self.count))",message="ref names a Placement; give it alone, or give the rule itself"
type ApplicationPlacement struct {
	PlacementRule `json:",inline"`
	// Ref names a Placement.
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$`
	Ref string `json:"ref,omitempty"`
}

// Dependency is what an application depends on.
type Dependency struct {
	// Application is the name of another one of the project.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=53
	// +kubebuilder:validation:Pattern=`^[a-z]([-a-z0-9]*[a-z0-9])?$`
	Application string `json:"application"`
}

// Drift is how changes by others are treated.
type Drift struct {
	// Mode Correct forces the delivered value back; Report only records it.
	// +kubebuilder:validation:Enum=Correct;Report
	// +kubebuilder:default=Correct
	Mode DriftMode `json:"mode,omitempty"`
	// Ignore lists fields that others may change.
	// +kubebuilder:validation:MaxItems=128
	// +listType=atomic
	Ignore []FieldRule `json:"ignore,omitempty"`
	// Exact lists maps and lists in which additions by others are removed too;
	// keys of *.kubernetes.io/ are never covered.
	// +kubebuilder:validation:MaxItems=128
	// +listType=atomic
	Exact []FieldRule `json:"exact,omitempty"`
}

// DriftMode is Correct or Report.
type DriftMode string

// The drift modes.
const (
	DriftCorrect DriftMode = "Correct"
	DriftReport  DriftMode = "Report"
)

// DeletionPolicy is Orphan or Delete.
type DeletionPolicy string

// The deletion policies.
const (
	Orphan DeletionPolicy = "Orphan"
	Delete DeletionPolicy = "Delete"
)

// FieldRule selects fields of objects; empty parts match everything.
type FieldRule struct {
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$`
	Group string `json:"group,omitempty"`
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^([A-Z][A-Za-z0-9]*)?$`
	Kind string `json:"kind,omitempty"`
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`
	// Paths are dotted field paths with list elements in brackets by index,
	// by key or "*": "spec.template.spec.containers[name=web].resources",
	// "metadata.annotations[example.com/x]".
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +listType=atomic
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=1024
	Paths []string `json:"paths"`
}

// HealthRule tells the health of a kind by CEL over `object`.
type HealthRule struct {
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$`
	Group string `json:"group,omitempty"`
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[A-Z][A-Za-z0-9]*$`
	Kind string `json:"kind"`
	// Healthy and Degraded are CEL expressions; Degraded wins; neither true
	// means Progressing.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	Healthy string `json:"healthy"`
	// +kubebuilder:validation:MaxLength=2048
	Degraded string `json:"degraded,omitempty"`
	// AssumeHealthy accepts silence as health for this kind.
	AssumeHealthy bool `json:"assumeHealthy,omitempty"`
}

// ApplicationStatus summarises the fleet; the names behind the counts come
// from the fleet API.
type ApplicationStatus struct {
	// ObservedGeneration is the generation that all the rest speaks of.
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// Revision is the name of the Revision being delivered.
	Revision string `json:"revision,omitempty"`
	// Rollout is the name of the RolloutRun by which it travels, if it does.
	Rollout string `json:"rollout,omitempty"`
	// Source is what was fetched for a source that the hub follows.
	Source *FetchedSource `json:"source,omitempty"`
	Counts Counts         `json:"counts,omitempty"`
	// Exceptions names at most ten clusters that are not well, worst first.
	// +kubebuilder:validation:MaxItems=10
	Exceptions []Exception `json:"exceptions,omitempty"`
	// AsOf is the age of the oldest report included.
	AsOf *metav1.Time `json:"asOf,omitempty"`
	// Clusters are the chosen clusters, sorted; written only on change.
	// +listType=atomic
	Clusters []string `json:"clusters,omitempty"`
	// Variants are the contents of the revision, by the overrides that make them;
	// absent when it has none.
	// +kubebuilder:validation:MaxItems=256
	// +listType=atomic
	Variants []Variant `json:"variants,omitempty"`
	// Withdrawing are clusters that have left the placement and whose agents
	// have not confirmed it yet.
	// +listType=atomic
	Withdrawing []string `json:"withdrawing,omitempty"`
}

// Counts is a count per value of each axis over the placed clusters.
type Counts struct {
	Placed      int32 `json:"placed"`
	InSync      int32 `json:"inSync"`
	Progressing int32 `json:"progressing,omitempty"`
	Drifted     int32 `json:"drifted,omitempty"`
	Held        int32 `json:"held,omitempty"`
	Failed      int32 `json:"failed,omitempty"`
	// Healthy, HealthProgressing, Degraded and Unknown are the health axis.
	Healthy           int32 `json:"healthy"`
	HealthProgressing int32 `json:"healthProgressing,omitempty"`
	Degraded          int32 `json:"degraded,omitempty"`
	Unknown           int32 `json:"unknown,omitempty"`
	// NotReported counts clusters without a report for the present entry.
	NotReported int32 `json:"notReported,omitempty"`
}

// Exception is one cluster that is not in sync and healthy.
type Exception struct {
	Cluster string `json:"cluster"`
	Sync    string `json:"sync,omitempty"`
	Health  string `json:"health,omitempty"`
	Message string `json:"message,omitempty"`
	// AsOf is the age of the report; nil when there is none.
	AsOf *metav1.Time `json:"asOf,omitempty"`
}

// ApplicationList is a list of Applications.
//
// +kubebuilder:object:root=true
type ApplicationList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []Application `json:"items"`
}
