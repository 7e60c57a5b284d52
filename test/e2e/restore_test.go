package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"atoll.dev/atoll/api/v1alpha1"
	fleetapi "atoll.dev/atoll/internal/fleet"
	"atoll.dev/atoll/internal/report"
	"atoll.dev/atoll/internal/testfleet"
)

// uid is a ConfigMap's, "" where it is not.
func uid(t *testing.T, m *testfleet.Member, name string) string {
	t.Helper()
	cm := &corev1.ConfigMap{}
	if !exists(t, m, cm, "past", name) {
		return ""
	}
	return string(cm.UID)
}

// setBack ends the hub for good and starts one that is restored from the file in
// its place.
func setBack(t *testing.T, f *testfleet.Fleet, file, passphrase string) {
	t.Helper()
	f.Hub.Kill()
	if err := os.Rename(f.Hub.DataDir, f.Hub.DataDir+".lost"); err != nil {
		t.Fatal(err)
	}
	if r := f.Hub.CLI("hub", "restore", file, "--data-dir", f.Hub.DataDir, "--passphrase-file", passphrase); r.Code != 0 {
		t.Fatalf("restore: %s", r)
	}
	f.Hub.Start()
}

// unserved waits until the hub has turned the cluster's agent away.
func unserved(t *testing.T, f *testfleet.Fleet, cluster string) {
	t.Helper()
	eventually(t, cluster+" is turned away", func(ctx context.Context) error {
		chain, err := f.Hub.Fleet().Explain(ctx, "past", "web", cluster)
		if err == nil && !strings.Contains(fmt.Sprintf("%+v", chain), "turns the agent away") {
			err = fmt.Errorf("%+v", chain)
		}
		return err
	})
	r, err := f.Hub.Fleet().Report(t.Context(), cluster)
	if err != nil || r.Connection == v1alpha1.Connected {
		t.Errorf("%s is served: %+v: %v", cluster, r, err)
	}
}

func heldAsOlder(s fleetapi.ClusterState) bool {
	p, ok := problem(s.State, "HubOlderThanAgent")
	return ok && p.Reason != "" && s.State.Sync == report.Held
}

// A hub that is set back to its backup knows less than its agents do, and
// believes in a cluster that was removed since.
func TestAHubSetBackToItsBackupDeletesNothingAndServesNobodyUnasked(t *testing.T) {
	f := testfleet.Start(t, testfleet.Options{Clusters: []testfleet.Cluster{
		testfleet.Named("a", "stage=production"), testfleet.Named("gone", "stage=production"),
	}})
	if o, err := f.Hub.Fleet().Overview(t.Context()); err != nil || o.Hub.Storage != "embedded" {
		t.Skipf("a store of its own is what a hub backs up: %+v: %v", o, err)
	}
	f.Project("past")
	a, gone := f.Member("a"), f.Member("gone")
	f.Deploy("past", "web", stream(deployment("web", "example.com/web:1", 2), configMap("web", "before")), "--to", "stage=production").Settles(2)
	f.Deploy("past", "items", configMaps(0, 3, "before"), "--cluster", "a").Settles(1)
	f.Deploy("past", "late", configMap("late", "before"), "--cluster", "a", "--on-delete", "Delete").Settles(1)

	passphrase, file := filepath.Join(t.TempDir(), "passphrase"), filepath.Join(t.TempDir(), "hub.atoll")
	if err := os.WriteFile(passphrase, []byte("of twelve and more\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := f.Hub.CLI("hub", "backup", file, "--data-dir", f.Hub.DataDir, "--passphrase-file", passphrase); r.Code != 0 {
		t.Fatalf("backup: %s", r)
	}

	// What the backup does not know: three are deployed, one changed, one deleted,
	// one cluster removed.
	for _, name := range []string{"one", "two", "three"} {
		f.Deploy("past", name, configMap(name, "after"), "--cluster", "a").Settles(1)
	}
	f.Deploy("past", "items", configMaps(0, 30, "after"))
	count(t, a, "past", 30)
	f.App("past", "items").Settles(1)
	f.Hub.MustCLI("delete", "app/late", "-p", "past", "--confirm", "late")
	eventually(t, "the deleted one is gone", func(context.Context) error {
		if uid(t, a, "late") != "" {
			return errors.New("not yet")
		}
		return nil
	})
	f.Hub.MustCLI("remove", "gone", "--confirm", "gone")
	f.App("past", "web").Settles(1)
	running, left := pods(t, a, "past"), pods(t, gone, "past")
	if len(running) == 0 || len(left) == 0 {
		t.Fatalf("no pods to watch: %v, %v", running, left)
	}
	var kept = map[string]string{}
	for _, name := range []string{"one", "two", "three", "item-00029"} {
		kept[name] = uid(t, a, name)
	}
	asBefore := func(when string) {
		t.Helper()
		if now := pods(t, a, "past"); !maps.Equal(now, running) {
			t.Errorf("%s the pods of a are %v, not %v", when, now, running)
		}
		if now := pods(t, gone, "past"); !maps.Equal(now, left) {
			t.Errorf("%s the pods of the removed cluster are %v, not %v", when, now, left)
		}
		for name, was := range kept {
			if now := uid(t, a, name); now != was {
				t.Errorf("%s %s is %q, not %q", when, name, now, was)
			}
		}
	}

	setBack(t, f, file, passphrase)
	unserved(t, f, "a")
	unserved(t, f, "gone")
	if out := f.Hub.CLI("status").Stdout; !has(out, "Unconfirmed", "atoll accept a", "atoll accept gone") {
		t.Errorf("status does not say who waits:\n%s", out)
	}
	asBefore("with nobody confirmed")

	// One is confirmed: the hub asks it for what it lacks, and it holds the rest.
	f.Hub.MustCLI("accept", "a")
	connected(t, f, "a")
	f.App("past", "items").On("a", "keeps what is newer", heldAsOlder)
	becomes(t, a, "past", "late", "before")
	eventually(t, "what the hub does not know is shown", func(ctx context.Context) error {
		o, err := f.Hub.Fleet().Overview(ctx)
		if said := fmt.Sprint(o); err == nil && !has(said, "past/one", "past/two", "past/three") {
			err = errors.New(said)
		}
		return err
	})
	becomes(t, a, "past", "item-00000", "after")
	unserved(t, f, "gone")
	asBefore("with one confirmed")

	// The removed one is removed again, and the rest follow.
	f.Hub.MustCLI("remove", "gone", "--confirm", "gone")
	f.Hub.MustCLI("accept", "--all", "--incarnation")
	becomes(t, a, "past", "item-00000", "before")
	f.App("past", "items").On("a", "holds deletions beyond the budget", func(s fleetapi.ClusterState) bool {
		_, ok := problem(s.State, "DeletionHeld")
		return ok && s.State.HeldDeletion != ""
	})
	asBefore("with the backup followed")
	f.Hub.MustCLI("allow-deletion", "app/items", "-p", "past", "--confirm", "items")
	count(t, a, "past", 3)
	f.App("past", "items").Settles(1)
	f.App("past", "web").Settles(1)
	delete(kept, "item-00029") // what a person allowed
	asBefore("in the end")
}
