// Package v1alpha1 holds the served types of the API group atoll.dev/v1alpha1.
//
// People write Cluster, Project, AccessGrant, Application and Placement; the hub records
// Revision. The types carry no logic: defaults and validation live in
// internal/validate, so that admission, the CLI and tests share one copy.
//
// +kubebuilder:object:generate=true
// +groupName=atoll.dev
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is the one stored and served version; it only ever grows.
var GroupVersion = schema.GroupVersion{Group: "atoll.dev", Version: "v1alpha1"}

// AddToScheme registers every kind of this package.
var AddToScheme = (&runtime.SchemeBuilder{addKnownTypes}).AddToScheme

func addKnownTypes(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion,
		&Cluster{}, &ClusterList{},
		&Project{}, &ProjectList{},
		&Placement{}, &PlacementList{},
		&Application{}, &ApplicationList{},
		&Revision{}, &RevisionList{},
		&RolloutRun{}, &RolloutRunList{},
		&AccessGrant{}, &AccessGrantList{},
	)
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
}
