package cluster

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/observed"
)

// A hub that starts would else write each cluster down as lost, and then as
// found: two writes for each of a thousand.
func TestAClusterIsNotLostBeforeItCouldComeBack(t *testing.T) {
	start := time.Unix(10_000, 0)
	r := &Reconciler{Heartbeat: 10 * time.Second, Silence: start.Add(15 * time.Second)}
	stored := func() *v1alpha1.Cluster {
		at := metav1.NewTime(start.Add(-time.Minute))
		c := &v1alpha1.Cluster{}
		c.Status.Connection = v1alpha1.Connection{State: v1alpha1.Connected, Since: &at, LastContact: &at}
		return c
	}
	heard := observed.Cluster{Connected: true, Heard: start.Add(5 * time.Second)}
	for name, c := range map[string]struct {
		cluster *v1alpha1.Cluster
		seen    observed.Cluster
		after   time.Duration
		want    v1alpha1.ConnectionState
	}{
		"silent at first":             {stored(), observed.Cluster{}, 5 * time.Second, v1alpha1.Connected},
		"silent for long":             {stored(), observed.Cluster{}, 15 * time.Second, v1alpha1.Disconnected},
		"back":                        {stored(), heard, 6 * time.Second, v1alpha1.Connected},
		"gone again":                  {stored(), observed.Cluster{Heard: heard.Heard}, 6 * time.Second, v1alpha1.Disconnected},
		"new, and never heard before": {&v1alpha1.Cluster{}, observed.Cluster{}, 5 * time.Second, v1alpha1.Pending},
	} {
		r.connection(c.cluster, c.seen, start.Add(c.after))
		if got := c.cluster.Status.Connection.State; got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}
