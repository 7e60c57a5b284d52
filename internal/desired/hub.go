package desired

import "atoll.dev/atoll/api/v1alpha1"

// HubBounds are what an entry may deliver to the hub itself: Atoll's own objects
// and nothing else.
type HubBounds struct {
	// Application is the entry's own name: it does not manage itself.
	Application string `cbor:"1,keyasint" json:"application"`
	// Fleet allows what belongs to the fleet and to other projects, beside the
	// project's own applications.
	Fleet bool `cbor:"2,keyasint,omitempty" json:"fleet,omitempty"`
}

// onHub is p for an application that is delivered to the hub itself, where one
// account writes for all projects and the bounds alone tell them apart.
func (p Policy) onHub(app *v1alpha1.Application, project *v1alpha1.Project) Policy {
	p.Hub = &HubBounds{Application: app.Name, Fleet: project.Spec.Privileged}
	p.Privileged, p.Kinds, p.Namespaces = true, nil, []string{project.Name}
	return p
}
