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

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	fleetapi "atoll.dev/atoll/internal/fleet"
	"atoll.dev/atoll/internal/testfleet"
)

// TestAHubThatLostItsStoreLearnsItsClustersFromTheirAgents: no backup, the keys
// alone, and three days later. The agents tell what they run, and nothing of it is
// touched, from the loss until the hub asks for the same again.
func TestAHubThatLostItsStoreLearnsItsClustersFromTheirAgents(t *testing.T) {
	f := withTime(t, testfleet.Named("a", "stage=production"), testfleet.Named("gone"))
	if o, err := f.Hub.Fleet().Overview(t.Context()); err != nil || o.Hub.Storage != "embedded" {
		t.Skipf("the store of this hub is not its own to lose: %+v: %v", o, err)
	}
	a, gone := f.Member("a"), f.Member("gone")
	pass := manifest("Secret", "pass", map[string]any{"stringData": map[string]any{"value": "of the shop"}})
	web := func(value string) string {
		return stream(deployment("web", "example.com/web:1", 2), pass, configMap("web", value))
	}
	f.Project("past")
	f.Project("side", func(p *v1alpha1.ProjectSpec) { p.Namespaces = []string{"past-side"} })
	f.Deploy("past", "web", web("before"), "--cluster", "a").Settles(1)
	// A hook that ran is not to run again because a hub was lost.
	once := manifest("Job", "once", map[string]any{
		"apiVersion": "batch/v1", "metadata": map[string]any{"name": "once", "annotations": map[string]any{v1alpha1.AnnotationPhase: "PreSync"}},
		"spec": map[string]any{"template": map[string]any{"spec": map[string]any{
			"restartPolicy": "Never", "containers": []any{map[string]any{"name": "task", "image": "task:1"}},
		}}},
	})
	f.Deploy("past", "items", stream(configMaps(0, 3, "before"), once), "--to", "stage=production", "--on-delete", "Delete").Settles(1)
	f.Deploy("side", "late", configMap("late", "before"), "--cluster", "a").Settles(1)
	f.Hub.MustCLI("remove", "gone", "--confirm", "gone")
	running := pods(t, a, "past")
	if len(running) == 0 {
		t.Fatal("no pods to watch")
	}
	written := delivered(t, a)
	if written["past/Job/once"] == "" {
		t.Fatalf("the hook is not among %v", written)
	}
	untouched := func(when string) {
		t.Helper()
		if now := pods(t, a, "past"); !maps.Equal(now, running) {
			t.Errorf("%s the pods are %v, not %v", when, now, running)
		}
		if now := delivered(t, a); !maps.Equal(now, written) {
			t.Errorf("%s the objects are at %v, not %v", when, now, written)
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

	// The agents are asked, and nothing is made of it before a person says so.
	if out := f.Hub.MustCLI("recover"); !has(out, "past", "side", "past/web", "past/items", "side/late", "new", "values of 1 Secret stay") {
		t.Errorf("recover says\n%s", out)
	}
	made := &v1alpha1.ApplicationList{}
	if err := f.Hub.Client().List(t.Context(), made); err != nil || len(made.Items) > 0 {
		t.Errorf("looking made %v: %v", made.Items, err)
	}
	f.Hub.MustCLI("recover", "--write")
	app := f.App("past", "web")
	app.On("a", "keeps what it has, of another history", heldAsOlder)
	if out := f.Hub.MustCLI("recover"); has(out, "new") || !has(out, "known") {
		t.Errorf("made already, recover says\n%s", out)
	}
	untouched("asked for again")
	f.Hub.MustCLI("accept", "a", "--incarnation")
	for _, app := range []*testfleet.App{app, f.App("past", "items"), f.App("side", "late")} {
		app.Settles(1)
		app.On("a", "follows", func(s fleetapi.ClusterState) bool { return s.Current && s.State.Well() })
	}
	untouched("let follow")
	if app := f.App("past", "items").Get(); app.Spec.OnDelete != v1alpha1.Orphan {
		t.Errorf("what was recovered would be deleted: %s", app.Spec.OnDelete)
	}

	// It is the hub's again: drift is healed, the Secret's value is kept by its
	// agent, and a change comes through once the manifests are given again.
	byHand := &corev1.ConfigMap{}
	if !exists(t, a, byHand, "past", "web") {
		t.Fatal("the ConfigMap is gone")
	}
	byHand.Data["value"] = "by hand"
	if err := a.Client().Update(t.Context(), byHand); err != nil {
		t.Fatal(err)
	}
	becomes(t, a, "past", "web", "before")
	f.Deploy("past", "web", web("after"), "--cluster", "a").Settles(1)
	becomes(t, a, "past", "web", "after")
	if !exists(t, a, &corev1.Secret{}, "past", "pass") {
		t.Error("the Secret is gone")
	}
	if now := pods(t, a, "past"); !maps.Equal(now, running) {
		t.Errorf("in the end the pods are %v, not %v", now, running)
	}
}

// delivered are the versions of what was, but for what Kubernetes writes to too.
func delivered(t *testing.T, m *testfleet.Member) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, namespace := range []string{"past", "past-side"} {
		plain, secrets, jobs := &corev1.ConfigMapList{}, &corev1.SecretList{}, &batchv1.JobList{}
		if err := errors.Join(m.Client().List(t.Context(), jobs, client.InNamespace(namespace)), m.Client().List(t.Context(), plain, client.InNamespace(namespace)), m.Client().List(t.Context(), secrets, client.InNamespace(namespace))); err != nil {
			t.Fatal(err)
		}
		for i := range plain.Items {
			out[namespace+"/ConfigMap/"+plain.Items[i].Name] = plain.Items[i].ResourceVersion
		}
		for i := range jobs.Items {
			out[namespace+"/Job/"+jobs.Items[i].Name] = string(jobs.Items[i].UID)
		}
		for i := range secrets.Items {
			out[namespace+"/Secret/"+secrets.Items[i].Name] = secrets.Items[i].ResourceVersion
		}
	}
	return out
}
