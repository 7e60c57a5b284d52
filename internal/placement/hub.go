package placement

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"atoll.dev/atoll/api/v1alpha1"
)

// Hub stands in the place of a cluster's name for the hub itself. No cluster can
// bear it.
const Hub = "@hub"

// TargetsHub tells that the application delivers to the hub itself.
func TargetsHub(app *v1alpha1.Application) bool {
	return app.Spec.Placement != nil && app.Spec.Placement.Hub
}

// HubCluster is the hub where the entries of clusters are worked out: it has a
// name and nothing else that could be selected.
func HubCluster() v1alpha1.Cluster {
	return v1alpha1.Cluster{ObjectMeta: metav1.ObjectMeta{Name: Hub}}
}

// decideHub has no filters: which clusters a project may use says nothing of the
// hub, and what it may do there is policy's.
func decideHub(project *v1alpha1.Project, previous []string) Decision {
	d := Decision{Chosen: []string{}, Why: map[string]Verdict{}}
	if project == nil {
		d.Reason, d.Message = NoProject, "the project does not exist, so nothing bounds what may be delivered"
		d.refuse(Hub, []Refusal{{OutsideProject, d.Message}})
		d.Empty = true
	} else {
		d.Why[Hub] = Verdict{Cluster: Hub, Chosen: true, Reason: Chosen, Message: "the placement names the hub itself"}
		d.Chosen = append(d.Chosen, Hub)
		d.Reason, d.Message = Placed, "delivered to the hub itself"
	}
	for _, name := range previous {
		if _, ok := d.Why[name]; !ok {
			d.refuse(name, []Refusal{{NameNotListed, "the placement names the hub itself, and no clusters"}})
		}
	}
	d.Left = left(previous, d.Why)
	return d
}
