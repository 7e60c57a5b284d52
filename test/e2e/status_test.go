package e2e_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	fleetapi "atoll.dev/atoll/internal/fleet"
	"atoll.dev/atoll/internal/report"
)

func TestStatusOfAKilledClusterShowsItsAgeWhatItAffectsAndNoFalseHealth(t *testing.T) {
	f := fleet(t)
	app := shop(t, f)
	b := f.Member("b")
	killed := time.Now()
	b.Agent.Kill()
	if err := b.Sandbox.Kill(); err != nil {
		t.Fatal(err)
	}
	back := func() {
		if err := b.Sandbox.Start(context.Background()); err != nil {
			t.Error(err)
		}
		b.Agent.Start()
	}
	defer back()
	// Its last word goes into the hub's store when the link has ended.
	eventually(t, "the hub stores that b is gone", func(ctx context.Context) error {
		c := &v1alpha1.Cluster{}
		err := f.Hub.Client().Get(ctx, client.ObjectKey{Name: "b"}, c)
		if err == nil && c.Status.Connection.State != v1alpha1.Disconnected {
			err = fmt.Errorf("it is %s", c.Status.Connection.State)
		}
		return err
	})
	check := func() {
		t.Helper()
		app.Eventually("unknown on b", func(a *v1alpha1.Application) bool {
			return a.Status.Counts.Healthy == 1 && a.Status.Counts.Unknown == 1 && !conditionIs(a.Status.Conditions, v1alpha1.ConditionHealthy, "True")
		})
		out := f.Hub.MustCLI("status")
		if !has(out, "1 of", "DOWN (1)", "b   Disconnected, last seen", "It affects", "demo/shop", "atoll describe cluster b") || has(out, "All well") {
			t.Errorf("status says\n%s", out)
		}
		o, err := f.Hub.Fleet().Overview(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(o.Down) != 1 || o.Down[0].Cluster != "b" || o.Down[0].LastContact.After(killed.Add(time.Second)) || o.Down[0].LastContact.Before(killed.Add(-10*time.Minute)) {
			t.Errorf("down: %+v; it was killed at %s", o.Down, killed)
		}
		state := app.On("b", "is disconnected", func(s fleetapi.ClusterState) bool { return s.Connection == v1alpha1.Disconnected })
		if state.State.Health != report.HealthUnknown {
			t.Errorf("the health of a dead cluster is %s", state.State.Health)
		}
		if state.AsOf.IsZero() || state.AsOf.After(killed.Add(time.Second)) {
			t.Errorf("its state is as of %s; it was killed at %s", state.AsOf, killed)
		}
		if r := f.Hub.CLI("tree", "app/shop", "-p", "demo"); r.Code != 3 || !has(r.Stderr, "b") || !has(r.Stdout, "Deployment") && !has(strings.ToLower(r.Stdout), "deployment") {
			t.Errorf("a partial tree: %s", r)
		}
		if r := f.Hub.CLI("kubectl", "-C", "b", "--", "get", "pods"); r.Code != 2 || !has(r.Stderr, "error: cluster b cannot be reached: the hub last heard from its agent at ", " ago;", "atoll describe cluster b") || r.Stdout != "" {
			t.Errorf("kubectl there: %s", r)
		}
	}
	check()
	f.Hub.Restart() // nor does a hub that never heard of b in its term invent anything
	app.On("a", "is back", func(s fleetapi.ClusterState) bool { return s.Connection == v1alpha1.Connected && s.Current })
	check()
	back()
	app.Settles(2)
}

func TestAFrozenAgentIsStaleAndDelaysNobody(t *testing.T) {
	f := fleet(t)
	f.Project("frozen")
	app := f.Deploy("frozen", "web", configMap("web", "1"), "--to", "stage=production")
	app.Settles(2)
	b := f.Member("b")
	b.Agent.Freeze()
	thawed := false
	thaw := func() {
		if !thawed {
			b.Agent.Thaw()
		}
		thawed = true
	}
	defer thaw()
	app.On("b", "is not believed any more", func(s fleetapi.ClusterState) bool {
		return s.Connection != v1alpha1.Connected && s.State.Health == report.HealthUnknown
	})
	f.Deploy("frozen", "web", configMap("web", "2"))
	becomes(t, f.Member("a"), "frozen", "web", "2")
	becomes(t, b, "frozen", "web", "1")
	if r := f.Hub.CLI("diff", "app/web", "-p", "frozen"); r.Code != 3 || !has(r.Stderr, "b") {
		t.Errorf("a partial answer: %s", r)
	}
	if r := f.Hub.CLI("sync", "app/web", "-p", "frozen"); r.Code != 3 || !has(r.Stdout, "on 1 cluster") || !has(r.Stderr, "b") {
		t.Errorf("a forced sync that only one hears of: %s", r)
	}
	thaw()
	app.Settles(2)
	becomes(t, b, "frozen", "web", "2")
	if r := f.Hub.CLI("sync", "app/web", "-p", "frozen"); r.Code != 0 || !has(r.Stdout, "on 2 clusters") {
		t.Errorf("a forced sync: %s", r)
	}
	if r := f.Hub.CLI("sync", "app/web", "-p", "frozen", "--force", "--confirm", "web"); r.Code != 0 || !has(r.Stdout, "on 2 clusters") {
		t.Errorf("one that makes anew what cannot be changed: %s", r)
	}
	app.Settles(2)
}
