package policy

import (
	"k8s.io/apimachinery/pkg/runtime/schema"

	"atoll.dev/atoll/api/v1alpha1"
)

var confirmed = map[schema.GroupKind]bool{
	{Kind: "Namespace"}: true,
	{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition"}: true,
	{Kind: "PersistentVolume"}:                                        true,
	{Kind: "PersistentVolumeClaim"}:                                   true,
	{Group: v1alpha1.GroupVersion.Group, Kind: "Project"}:             true,
	{Group: v1alpha1.GroupVersion.Group, Kind: "Cluster"}:             true,
}

// NeedsConfirmation tells kinds that are deleted only when a person names the
// object, whatever the budget: other things go with them.
func NeedsConfirmation(gk schema.GroupKind) bool { return confirmed[gk] }
