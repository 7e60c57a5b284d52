package placement_test

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/placement"
)

func TestTheHubIsChosenAndNoCluster(t *testing.T) {
	clusters := []v1alpha1.Cluster{{ObjectMeta: metav1.ObjectMeta{Name: "eu-1"}}}
	project := &v1alpha1.Project{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}
	// Which clusters the project may use, and whose it is, says nothing of the hub.
	project.Spec.Clusters, project.Spec.Tenant = "stage=production", "acme"
	decide := func(p *v1alpha1.Project, previous ...string) placement.Decision {
		d, err := placement.Decide(placement.Input{Rule: v1alpha1.PlacementRule{Hub: true}, Project: p, Clusters: clusters, Previous: previous})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	if d := decide(project); d.Empty || len(d.Chosen) != 1 || d.Chosen[0] != placement.Hub || !d.Why[placement.Hub].Chosen || d.Why["eu-1"].Chosen {
		t.Errorf("%+v", d)
	}
	if d := decide(project, "eu-1"); len(d.Left) != 1 || d.Why["eu-1"].Reason != placement.NameNotListed {
		t.Errorf("a cluster that had it: %+v", d)
	}
	if d := decide(nil); !d.Empty || d.Reason != placement.NoProject {
		t.Errorf("without a project: %+v", d)
	}
	everywhere, err := placement.Decide(placement.Input{Rule: v1alpha1.PlacementRule{Where: "true"}, Project: project, Clusters: clusters})
	if _, told := everywhere.Why[placement.Hub]; err != nil || told {
		t.Errorf("the hub counts as a cluster: %+v, %v", everywhere, err)
	}
}
