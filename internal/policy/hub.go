package policy

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/report"
)

// The reasons of a Violation by what is delivered to the hub itself.
const (
	NotAtolls   = "NotAtolls"
	HubsRecord  = "HubsRecord"
	FleetsKind  = "FleetsKind"
	ManagesSelf = "ManagesItself"
	Overridden  = "OverrideDelivered"
)

// hubKinds are what can be delivered to the hub; true is namespaced. The other
// kinds of Atoll's are its records.
var hubKinds = map[string]bool{"Application": true, "Project": false, "Placement": false, "Cluster": false}

// judgeHub judges an object that goes to the hub itself. There one account writes
// for all projects, so this is the bound, and not the second of two. defaulted is
// the namespace of objects that name none.
func judgeHub(bounds desired.HubBounds, project, defaulted string, ref report.ObjectRef) (_ report.ObjectRef, reason, message string) {
	namespaced, known := hubKinds[ref.Kind]
	switch {
	case ref.Group != v1alpha1.GroupVersion.Group:
		return ref, NotAtolls, "the hub takes Atoll's own objects only; what runs in clusters needs an application that chooses clusters"
	case !known:
		return ref, HubsRecord, "the hub keeps objects of the kind " + ref.Kind + " itself; deliver Applications, Projects, Placements or Clusters"
	}
	if !namespaced {
		ref.Namespace = ""
	} else if ref.Namespace == "" {
		ref.Namespace = defaulted
	}
	switch {
	case !bounds.Fleet && !namespaced:
		return ref, FleetsKind, "the kind " + ref.Kind + " belongs to the whole fleet; only a privileged project manages it, and project " + project + " is none"
	case ref.Namespace == v1alpha1.SystemNamespace:
		return ref, SystemNamespace, v1alpha1.SystemNamespace + " belongs to the hub; nothing is delivered there"
	case !bounds.Fleet && ref.Namespace != project:
		return ref, ForeignNamespace, "namespace " + ref.Namespace + " of the hub is another project's; project " + project + " manages its own applications only"
	case ref.Kind == "Application" && ref.Namespace == project && ref.Name == bounds.Application:
		return ref, ManagesSelf, "an application does not manage itself: a mistake in it could not be taken back from there; take it out of its own source"
	case ref.Kind == "Project" && ref.Name == project:
		return ref, ManagesSelf, "an application does not manage its own project: what bounds it must not come from it; take it out of its source"
	}
	return ref, "", ""
}

// overridden refuses the word that somebody lets an object differ for a while: the
// hub, as which it would be written, does not ask whose it is, nor takes it back.
func overridden(obj *unstructured.Unstructured) (reason, message string) {
	for _, name := range []string{v1alpha1.AnnotationOverrideReason, v1alpha1.AnnotationOverrideBy} {
		if _, says := obj.GetAnnotations()[name]; says {
			return Overridden, "metadata.annotations[" + name + "] is said by who overrides the object, with atoll override; take it out of the source"
		}
	}
	return "", ""
}
