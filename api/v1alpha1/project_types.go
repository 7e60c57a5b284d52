package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Project is a team's share of the fleet: one hub namespace of the same name,
// the clusters it may use and what it may own there.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,shortName=atpr,categories=atoll
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Clusters",type=string,JSONPath=`.spec.clusters`
// +kubebuilder:printcolumn:name="Namespaces",type=string,JSONPath=`.spec.namespaces`
// +kubebuilder:printcolumn:name="Residency",type=string,JSONPath=`.spec.residency.jurisdictions`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 53 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",message="metadata.name: a project's name is a DNS label of at most 53 characters"
type Project struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   ProjectSpec   `json:"spec"`
	Status ProjectStatus `json:"status,omitempty"`
}

// ProjectSpec bounds what the project's applications may do. The hub checks
// the rendered output against it and every member enforces it again.
type ProjectSpec struct {
	// Clusters is a label selector (kubectl syntax) of the clusters it may
	// use; empty means all.
	// +kubebuilder:validation:MaxLength=1024
	Clusters string `json:"clusters,omitempty"`
	// Namespaces it may own in members: a name, or a prefix ending in "*".
	// Empty means the project's own name and "NAME-*".
	// +kubebuilder:validation:MaxItems=64
	// +listType=set
	// +kubebuilder:validation:items:MaxLength=63
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?|[a-z0-9][-a-z0-9]*[*])$')",message="must be a namespace, or a prefix of some ending in *, such as shop-*; * alone would own them all"
	// +kubebuilder:validation:XValidation:rule="self.all(n, !n.startsWith('kube-') && !n.startsWith('atoll-system'))",message="kube-… and atoll-system belong to the cluster and the agent; a project cannot own them"
	Namespaces []string `json:"namespaces,omitempty"`
	// Kinds are extra kinds allowed beyond namespaced ones.
	// +kubebuilder:validation:MaxItems=64
	// +listType=atomic
	Kinds []GroupKind `json:"kinds,omitempty"`
	// Privileged applies with the agent's own account: cluster-scoped kinds
	// and RBAC. Setting it needs the verb "escalate" on projects.atoll.dev.
	Privileged bool `json:"privileged,omitempty"`
	// Tenant matches Cluster.spec.tenant.
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self.matches('^([a-z0-9]([-_.a-z0-9]*[a-z0-9])?)?$')",message="must be lower-case letters, digits, '-', '_' and '.', with a letter or digit at both ends"
	Tenant string `json:"tenant,omitempty"`
	// Residency is a hard limit on where the project's work may run. Changing
	// it needs the verb "classify" on projects.atoll.dev.
	Residency *Residency `json:"residency,omitempty"`
	// Freeze has the clusters told nothing new of any of its applications.
	Freeze *Freeze `json:"freeze,omitempty"`
	// ForbidPause makes agents ignore atoll.dev/pause-until.
	ForbidPause bool `json:"forbidPause,omitempty"`
	// DeletionBudget is how many objects one sync may delete on one cluster
	// before it holds; default 10.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000000
	DeletionBudget *int32 `json:"deletionBudget,omitempty"`
	// Notify are who is told of what becomes of its applications.
	// +kubebuilder:validation:MaxItems=16
	// +listType=map
	// +listMapKey=name
	Notify []Notification `json:"notify,omitempty"`
}

// GroupKind names a kind; "*" stands for every kind of the group.
type GroupKind struct {
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$`
	Group string `json:"group,omitempty"`
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^(\*|[A-Z][A-Za-z0-9]*)$`
	Kind string `json:"kind"`
}

// Residency limits where work may run; a cluster must satisfy every given list.
//
// +kubebuilder:validation:XValidation:rule="(has(self.jurisdictions) && size(self.jurisdictions) > 0) || (has(self.regions) && size(self.regions) > 0)",message="give jurisdictions or regions; an empty residency limits nothing, so leave it out if that is meant"
type Residency struct {
	// +kubebuilder:validation:MaxItems=64
	// +listType=set
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=63
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^[a-z0-9]([-_.a-z0-9]*[a-z0-9])?$')",message="must be lower-case letters, digits, '-', '_' and '.', with a letter or digit at both ends"
	Jurisdictions []string `json:"jurisdictions,omitempty"`
	// +kubebuilder:validation:MaxItems=256
	// +listType=set
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=63
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^[a-z0-9]([-_.a-z0-9]*[a-z0-9])?$')",message="must be lower-case letters, digits, '-', '_' and '.', with a letter or digit at both ends"
	Regions []string `json:"regions,omitempty"`
}

// ProjectStatus is what the hub made of the Project.
type ProjectStatus struct {
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// Notify is how the deliveries of spec.notify go.
	// +listType=map
	// +listMapKey=name
	Notify []NotificationStatus `json:"notify,omitempty"`
}

// ProjectList is a list of Projects.
//
// +kubebuilder:object:root=true
type ProjectList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []Project `json:"items"`
}
