package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	fleetapi "atoll.dev/atoll/internal/fleet"
	"atoll.dev/atoll/internal/testfleet"
)

// TestAHubThatLostItsStoreLearnsItsClustersFromTheirAgents: no backup, the keys
// alone, and three days later. Nothing that runs is touched, from the loss until
// the hub asks for the same again.
func TestAHubThatLostItsStoreLearnsItsClustersFromTheirAgents(t *testing.T) {
	f := withTime(t, testfleet.Named("a", "stage=production"), testfleet.Named("gone"))
	if o, err := f.Hub.Fleet().Overview(t.Context()); err != nil || o.Hub.Storage != "embedded" {
		t.Skipf("the store of this hub is not its own to lose: %+v: %v", o, err)
	}
	a, gone := f.Member("a"), f.Member("gone")
	pass := manifest("Secret", "pass", map[string]any{"stringData": map[string]any{"value": "of the shop"}})
	shop := func() *testfleet.App {
		f.Project("past")
		return f.Deploy("past", "web", stream(deployment("web", "example.com/web:1", 2), pass, configMap("web", "before")), "--cluster", "a")
	}
	shop().Settles(1)
	f.Hub.MustCLI("remove", "gone", "--confirm", "gone")
	running := pods(t, a, "past")
	if len(running) == 0 {
		t.Fatal("no pods to watch")
	}
	untouched := func(when string) {
		t.Helper()
		if now := pods(t, a, "past"); !maps.Equal(now, running) {
			t.Errorf("%s the pods are %v, not %v", when, now, running)
		}
	}

	f.Hub.Kill()
	lost := f.Hub.DataDir + ".lost"
	if err := os.Rename(f.Hub.DataDir, lost); err != nil {
		t.Fatal(err)
	}
	f.is(3 * 24 * time.Hour)
	f.Hub.Rebuild(filepath.Join(lost, "pki"))
	eventually(t, "both clusters are taken up, and none is served", func(context.Context) error {
		if out := f.Hub.CLI("status").Stdout; !has(out, "0 of 2 connected", "Unconfirmed", "atoll accept a", "atoll accept gone") {
			return errors.New(out)
		}
		return nil
	})
	untouched("with nobody confirmed")

	// Which was removed before the loss, a person knows; it does not come back.
	from := sizeOf(t, gone.Agent.LogPath())
	f.Hub.MustCLI("remove", "gone", "--confirm", "gone")
	logSays(t, gone.Agent.LogPath(), from, "was removed")
	f.Hub.MustCLI("accept", "--all")
	connected(t, f.Fleet, "a")
	eventually(t, "what the hub does not know is shown, with the inventory", func(ctx context.Context) error {
		o, err := f.Hub.Fleet().Overview(ctx)
		if said := fmt.Sprint(o); err == nil && !has(said, "past/web") {
			return errors.New(said)
		}
		found := &v1alpha1.Cluster{}
		if err := f.Hub.Client().Get(ctx, client.ObjectKey{Name: "a"}, found); err != nil || found.Status.Facts == nil {
			return fmt.Errorf("%+v: %v", found.Status, err)
		}
		return nil
	})
	if err := f.Hub.Client().Get(t.Context(), client.ObjectKey{Name: "gone"}, &v1alpha1.Cluster{}); client.IgnoreNotFound(err) != nil || err == nil {
		t.Errorf("the removed cluster is back: %v", err)
	}
	untouched("confirmed")

	app := shop()
	app.On("a", "keeps what it has, of another history", heldAsOlder)
	untouched("deployed again")
	f.Hub.MustCLI("accept", "a", "--incarnation")
	app.Settles(1)
	app.On("a", "follows", func(s fleetapi.ClusterState) bool { return s.Current && s.State.Well() })
	untouched("let follow")
	f.Deploy("past", "web", stream(deployment("web", "example.com/web:1", 2), pass, configMap("web", "after")), "--cluster", "a").Settles(1)
	becomes(t, a, "past", "web", "after")
	if !exists(t, a, &corev1.Secret{}, "past", "pass") {
		t.Error("the Secret is gone")
	}
	untouched("in the end")
}
