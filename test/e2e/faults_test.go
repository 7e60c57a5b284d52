package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	fleetapi "atoll.dev/atoll/internal/fleet"
	"atoll.dev/atoll/internal/report"
	"atoll.dev/atoll/internal/sandbox"
	"atoll.dev/atoll/internal/testfleet"
)

// TestFaultsOfAMemberAsTheHubShowsThem puts one member through what can happen
// to it, and looks at it as a user does.
func TestFaultsOfAMemberAsTheHubShowsThem(t *testing.T) {
	f := fleet(t)
	c := f.Member("c")
	t.Cleanup(func() { c.Leave("c") })
	f.Project("faulty")
	c.JoinAs(testfleet.Agent, "--label", "stage=faulty")
	app := f.Deploy("faulty", "web", configMap("web", "1"), "--to", "stage=faulty")
	app.Settles(1)

	t.Run("a firewall that rejects is a lost link at once", func(t *testing.T) {
		c.Inject(sandbox.Fault{Kind: sandbox.Partitioned, Reset: true})
		eventually(t, "c is disconnected", func(context.Context) error { return connectionOf(t, f, "c", v1alpha1.Disconnected) })
		f.Deploy("faulty", "web", configMap("web", "2"))
		lost := app.On("c", "is not said to be as asked for", func(s fleetapi.ClusterState) bool { return !s.Current })
		if lost.State.Health == report.HealthHealthy {
			t.Errorf("what is lost is shown as healthy: %+v", lost)
		}
		becomes(t, c, "faulty", "web", "1")
		c.Heal()
		app.Settles(1)
		becomes(t, c, "faulty", "web", "2")
	})

	t.Run("a slow network costs time and no link", func(t *testing.T) {
		since := connectedSince(t, f, "c")
		c.Inject(sandbox.Fault{Kind: sandbox.Slowed, Latency: metav1.Duration{Duration: 500 * time.Millisecond}})
		f.Deploy("faulty", "web", configMap("web", "3"))
		app.Settles(1)
		becomes(t, c, "faulty", "web", "3")
		c.Heal()
		if now := connectedSince(t, f, "c"); !now.Equal(since) {
			t.Errorf("the link of %s was lost; there is one of %s", since, now)
		}
	})

	t.Run("an API server that hangs delays what it cannot take", func(t *testing.T) {
		since := connectedSince(t, f, "c")
		c.Inject(sandbox.Fault{Kind: sandbox.Paused, Components: []string{sandbox.APIServer}})
		t.Cleanup(func() { // a second time is the same as once
			if err := c.Sandbox.Resume(context.Background()); err != nil {
				t.Error(err)
			}
		})
		f.Deploy("faulty", "web", configMap("web", "4"))
		hangs := app.On("c", "works on the change", func(s fleetapi.ClusterState) bool { return s.Current && s.State.Sync != report.InSync })
		if hangs.Connection != v1alpha1.Connected || hangs.State.Health == report.HealthHealthy {
			t.Errorf("a cluster whose API hangs: %+v", hangs)
		}
		if err := c.Sandbox.Resume(t.Context()); err != nil {
			t.Fatal(err)
		}
		app.Settles(1)
		becomes(t, c, "faulty", "web", "4")
		if now := connectedSince(t, f, "c"); !now.Equal(since) {
			t.Errorf("the agent's link of %s was lost with its API; there is one of %s", since, now)
		}
	})

	t.Run("a power cut is survived without another apply", func(t *testing.T) {
		remembered(t, c)
		before := versionOf(t, c, "faulty", "web")
		c.Agent.Kill()
		c.Inject(sandbox.Fault{Kind: sandbox.Killed})
		eventually(t, "c is disconnected", func(context.Context) error { return connectionOf(t, f, "c", v1alpha1.Disconnected) })
		app.Eventually("is unknown there", func(a *v1alpha1.Application) bool { return a.Status.Counts.Unknown == 1 })
		if err := c.Sandbox.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		c.Agent.Start()
		app.Settles(1)
		if now := versionOf(t, c, "faulty", "web"); now != before {
			t.Errorf("what was as asked for was written again: version %s, then %s", before, now)
		}
	})
}

// connectionOf is an error unless the cluster is shown so.
func connectionOf(t *testing.T, f *testfleet.Fleet, name string, want v1alpha1.ConnectionState) error {
	c := &v1alpha1.Cluster{}
	err := f.Hub.Client().Get(t.Context(), client.ObjectKey{Name: name}, c)
	if err != nil {
		return err
	}
	if got := c.Status.Connection; got.State != want {
		return fmt.Errorf("it is %s", got.State)
	} else if got.Since.IsZero() {
		return errors.New("it is not said since when")
	}
	return nil
}

func versionOf(t *testing.T, m *testfleet.Member, namespace, name string) string {
	t.Helper()
	cm := &corev1.ConfigMap{}
	if err := m.Client().Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, cm); err != nil {
		t.Fatal(err)
	}
	return cm.ResourceVersion
}
