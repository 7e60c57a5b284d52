package testfleet_test

import (
	"context"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/fleet"
	"atoll.dev/atoll/internal/testfleet"
)

func TestAPartitionIsSeenEnforcedThroughAndHealed(t *testing.T) {
	f := testfleet.Start(t, testfleet.Options{Clusters: []testfleet.Cluster{
		testfleet.Named("a", "stage=production"), testfleet.Named("b", "stage=production"),
	}})
	f.Project("cut")
	app := f.Deploy("cut", "greeting", greeting, "--to", "stage=production")
	app.Settles(2)
	a, b := f.Member("a"), f.Member("b")
	key := client.ObjectKey{Namespace: "cut", Name: "greeting"}
	read := func(m *testfleet.Member) *corev1.ConfigMap {
		t.Helper()
		c := &corev1.ConfigMap{}
		if err := m.Client().Get(t.Context(), key, c); err != nil {
			t.Fatal(err)
		}
		return c
	}
	before := read(b).ResourceVersion

	a.Partition()
	lost := app.On("a", "is not believed any more", func(s fleet.ClusterState) bool { return s.Connection != v1alpha1.Connected })
	if lost.AsOf.IsZero() {
		t.Errorf("what is lost has no age: %+v", lost)
	}
	drifted := read(a)
	drifted.Data["text"] = "go away"
	if err := a.Client().Update(t.Context(), drifted); err != nil {
		t.Fatal(err)
	}
	testfleet.Eventually(t, "the drift to be corrected without the hub", func(context.Context) error {
		if got := read(a).Data["text"]; got != "welcome" {
			return fmt.Errorf("it is %q", got)
		}
		return nil
	})
	during := read(a).ResourceVersion
	app.On("b", "stays as it was", func(s fleet.ClusterState) bool { return s.Connection == v1alpha1.Connected })
	if got := read(b).ResourceVersion; got != before {
		t.Errorf("the partition of a wrote to b: %s, then %s", before, got)
	}

	a.Heal()
	app.Settles(2)
	if got := read(a).ResourceVersion; got != during {
		t.Errorf("healing applied again what was in order: %s, then %s", during, got)
	}
}
