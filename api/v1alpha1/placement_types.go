package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Placement is a named placement rule that Applications refer to; it never
// selects applications.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,shortName=atpl,categories=atoll
// +kubebuilder:printcolumn:name="Clusters",type=string,JSONPath=`.spec.clusters`
// +kubebuilder:printcolumn:name="Where",type=string,JSONPath=`.spec.where`
// +kubebuilder:printcolumn:name="Count",type=integer,JSONPath=`.spec.count`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type Placement struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +kubebuilder:validation:XValidation:rule="!has(self.hub) || !self.hub",message="an application targets the hub by its own placement, not by a named one"
	// +kubebuilder:validation:XValidation:rule="(has(self.names) && size(self.names) > 0) || (has(self.clusters) && size(self.clusters) > 0) || (has(self.where) && size(self.where) > 0)",message="give names, clusters (a label selector) or where; to mean every cluster say where: \"true\""
	Spec PlacementRule `json:"spec"`
}

// PlacementRule says where. Every given part must hold: Names, Clusters and
// Where narrow the fleet, Count takes the best of what is left.
type PlacementRule struct {
	// Hub delivers to the hub's own API instead of to clusters: what is delivered
	// are Atoll's own objects. It stands alone, and only in an Application.
	Hub bool `json:"hub,omitempty"`
	// Names lists clusters by name.
	// +kubebuilder:validation:MaxItems=5000
	// +listType=set
	// +kubebuilder:validation:items:MaxLength=63
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",message="no cluster can bear this name; for a pattern use clusters or where"
	Names []string `json:"names,omitempty"`
	// Clusters is a label selector in kubectl's syntax, e.g. "stage=production,tier in (a,b)".
	// +kubebuilder:validation:MaxLength=1024
	Clusters string `json:"clusters,omitempty"`
	// Where is a CEL expression over `cluster`, e.g. "cluster.facts.nodes > 2".
	// +kubebuilder:validation:MaxLength=2048
	Where string `json:"where,omitempty"`
	// Count is how many clusters to take; absent means all that match.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000
	Count *int32 `json:"count,omitempty"`
	// Tolerations let the rule choose clusters in spite of their taints.
	// +kubebuilder:validation:MaxItems=32
	// +listType=atomic
	Tolerations []Toleration `json:"tolerations,omitempty"`
	// Residency narrows the Project's; it can never widen it.
	Residency *Residency `json:"residency,omitempty"`
}

// Toleration tolerates a Taint of the same key and, when given, value.
type Toleration struct {
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$`
	Key string `json:"key"`
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$`
	Value string `json:"value,omitempty"`
}

// PlacementList is a list of Placements.
//
// +kubebuilder:object:root=true
type PlacementList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []Placement `json:"items"`
}
