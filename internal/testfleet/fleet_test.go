package testfleet_test

import (
	"context"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/internal/testfleet"
)

const greeting = `{apiVersion: v1, kind: ConfigMap, metadata: {name: greeting}, data: {text: welcome}}`

func TestAFleetDeliversAndSurvivesTheFaultsItOffers(t *testing.T) {
	f := testfleet.Start(t, testfleet.Options{Clusters: []testfleet.Cluster{testfleet.Named("a", "stage=production")}})
	f.Project("hello")
	app := f.Deploy("hello", "greeting", greeting, "--to", "stage=production")
	app.Settles(1)
	a := f.Member("a")
	a.Agent.Kill()
	f.Hub.Kill()
	if a.Agent.Running() || f.Hub.PID() != 0 {
		t.Fatal("what was killed runs")
	}
	f.Hub.Start()
	a.Agent.Start()
	app.Settles(1)
	testfleet.Eventually(t, "the delivered object", func(ctx context.Context) error {
		return a.Client().Get(ctx, client.ObjectKey{Namespace: app.Get().Namespace, Name: "greeting"}, &corev1.ConfigMap{})
	})
	if r := f.Hub.CLI("get", "apps", "-p", "hello", "-o", "nonsense"); r.Code != 2 || r.Stderr == "" {
		t.Errorf("a wrong command: %s", r)
	}
}
