package e2e_test

import (
	"context"
	"fmt"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	fleetapi "atoll.dev/atoll/internal/fleet"
	"atoll.dev/atoll/internal/report"
	"atoll.dev/atoll/internal/testfleet"
)

// inWaves has an application change one cluster, and the other when a person
// has said so.
func inWaves(t *testing.T, f *testfleet.Fleet, app *testfleet.App) {
	t.Helper()
	one := int32(1)
	object := app.Get()
	patch := client.MergeFrom(object.DeepCopy())
	object.Spec.Rollout = &v1alpha1.Rollout{
		OnFailure: v1alpha1.Rollback, Waves: []v1alpha1.Wave{{Count: &one}, {Share: "100%", Approval: true}},
	}
	if err := f.Hub.Client().Patch(t.Context(), object, patch); err != nil {
		t.Fatal(err)
	}
}

func phase(t *testing.T, f *testfleet.Fleet, project, name string, want v1alpha1.RolloutPhase) *v1alpha1.RolloutRun {
	t.Helper()
	run := &v1alpha1.RolloutRun{}
	eventually(t, fmt.Sprintf("rollout %s is %s", name, want), func(ctx context.Context) error {
		if err := f.Hub.Client().Get(ctx, client.ObjectKey{Namespace: project, Name: name}, run); err != nil {
			return err
		}
		if run.Status.Phase != want {
			return fmt.Errorf("it is %+v", run.Status)
		}
		return nil
	})
	return run
}

// web is the Deployment of a member: its image, and how often its spec changed.
func web(t *testing.T, m *testfleet.Member, namespace string) (image string, generation int64) {
	t.Helper()
	d := &appsv1.Deployment{}
	if err := m.Client().Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: "web"}, d); err != nil {
		t.Fatal(err)
	}
	return d.Spec.Template.Spec.Containers[0].Image, d.Generation
}

// tried is the workload with a Job before it and one that tries it out, whose image
// says how it ends.
func tried(image, test string) string {
	job := func(name, phase, image string) string {
		return manifest("Job", name, map[string]any{
			"apiVersion": "batch/v1",
			"metadata":   map[string]any{"name": name, "annotations": map[string]any{v1alpha1.AnnotationPhase: phase}},
			"spec": map[string]any{"backoffLimit": 0, "template": map[string]any{"spec": map[string]any{
				"restartPolicy": "Never", "containers": []any{map[string]any{"name": "task", "image": image}},
			}}},
		})
	}
	return stream(job("migrate", "PreSync", "task:1"), deployment("web", image, 2), job("smoke", "Verify", test))
}

// ended is the Job of a member that has succeeded, by its UID; empty when there is
// none.
func ended(t *testing.T, m *testfleet.Member, name string) types.UID {
	t.Helper()
	job := &batchv1.Job{}
	if err := m.Client().Get(t.Context(), client.ObjectKey{Namespace: "waves", Name: name}, job); err != nil {
		t.Fatal(err)
	}
	if job.Status.Succeeded == 0 {
		return ""
	}
	return job.UID
}

func TestABadImageStopsAtTheFirstClusterAndIsTakenBackWithoutAnybody(t *testing.T) {
	f := fleet(t)
	f.Project("waves")
	app := f.Deploy("waves", "web", deployment("web", "web:1", 2), "--to", "stage=production")
	app.Settles(2)
	inWaves(t, f, app)
	_, before := web(t, f.Member("b"), "waves")

	f.Deploy("waves", "web", deployment("web", "web:broken", 2))
	run := phase(t, f, "waves", "web-1", v1alpha1.RolloutRolledBack)
	if run.Status.Started != 1 || fmt.Sprint(run.Status.Failed) != "[a]" {
		t.Errorf("the run says %+v", run.Status)
	}
	app.Settles(2) // with what they ran before
	if image, _ := web(t, f.Member("a"), "waves"); image != "web:1" {
		t.Errorf("a runs %s", image)
	}
	if image, now := web(t, f.Member("b"), "waves"); image != "web:1" || now != before {
		t.Errorf("b was told: it runs %s, generation %d after %d", image, now, before)
	}
	if out := f.Hub.CLI("explain", "app/web", "-p", "waves").Stdout; !has(out, "broken at Rollout", "web-1 is rolled back", "atoll rollout resume app/web") {
		t.Errorf("explain does not say it:\n%s", out)
	}
	if r := f.Hub.CLI("wait", "app/web", "-p", "waves", "--for=synced", "--timeout", "1s"); r.Code != 1 {
		t.Errorf("what was taken back is called synced: %s", r)
	}

	// One that runs and fails its own tests goes no further either.
	f.Deploy("waves", "web", tried("web:2", "task:fail"))
	run = phase(t, f, "waves", "web-2", v1alpha1.RolloutRolledBack)
	if run.Status.Started != 1 || !has(run.Status.Message, "verification Failed: Job.batch/smoke", "the job failed") {
		t.Errorf("the run says %+v", run.Status)
	}
	app.Settles(2)

	// A good one goes on from there; a hub that dies in the middle tells nobody
	// before their turn, and has no cluster run a hook again.
	f.Deploy("waves", "web", tried("web:2", "task:1"))
	phase(t, f, "waves", "web-3", v1alpha1.RolloutWaiting)
	migrated, verified := ended(t, f.Member("a"), "migrate"), ended(t, f.Member("a"), "smoke")
	f.Hub.Restart()
	phase(t, f, "waves", "web-3", v1alpha1.RolloutWaiting)
	app.Settles(2)
	if ended(t, f.Member("a"), "migrate") != migrated || ended(t, f.Member("a"), "smoke") != verified {
		t.Error("a hub that started anew had hooks run again")
	}
	if image, now := web(t, f.Member("b"), "waves"); image != "web:1" || now != before {
		t.Errorf("b was told before its turn: it runs %s, generation %d after %d", image, now, before)
	}
	if out := f.Hub.CLI("rollout", "status", "app/web", "-p", "waves").Stdout; !has(out, "Waiting", "1 of 2 begun", "waits for approval") {
		t.Errorf("the page does not say that it waits:\n%s", out)
	}
	if r := f.Hub.CLI("rollout", "promote", "app/web", "-p", "waves"); r.Code != 0 {
		t.Fatalf("promote: %s", r)
	}
	phase(t, f, "waves", "web-3", v1alpha1.RolloutComplete)
	if b := f.Member("b"); ended(t, b, "migrate") == "" || ended(t, b, "smoke") == "" {
		t.Error("b is passed, and its hooks have not run")
	}
	for _, name := range []string{"a", "b"} {
		if image, _ := web(t, f.Member(name), "waves"); image != "web:2" {
			t.Errorf("%s runs %s", name, image)
		}
	}
	if r := f.Hub.CLI("wait", "app/web", "-p", "waves", "--for=synced,healthy"); r.Code != 0 {
		t.Errorf("it does not become synced: %s", r)
	}
	if r := f.Hub.CLI("rollout", "abort", "app/web", "-p", "waves"); r.Code != 2 || !has(r.Stderr, "is over") {
		t.Errorf("a rollout that is over is aborted: %s", r)
	}

	// By hand, on one cluster: the version that worked, not the one that had to
	// be taken back.
	if r := f.Hub.CLI("rollback", "app/web", "-p", "waves", "-C", "b", "--reason", "orders fail"); r.Code != 0 {
		t.Fatalf("rollback: %s", r)
	}
	runsImage(t, f.Member("b"), "waves", "web:1")
	if image, _ := web(t, f.Member("a"), "waves"); image != "web:2" {
		t.Errorf("a was rolled back too: it runs %s", image)
	}
	if out := f.Hub.CLI("history", "app/web", "-p", "waves").Stdout; !has(out, "orders fail", "RolledBack", "Complete", "delivered") {
		t.Errorf("the history does not tell it:\n%s", out)
	}
	if r := f.Hub.CLI("unpin", "app/web", "-p", "waves", "-C", "b"); r.Code != 0 {
		t.Fatalf("unpin: %s", r)
	}
	runsImage(t, f.Member("b"), "waves", "web:2")

	// Overrides: b's own, by its labels, and the Secret's value with it. A hub that
	// starts anew tells nobody anything new.
	overridden(t, f, app)
	_, first := web(t, f.Member("a"), "waves")
	_, second := web(t, f.Member("b"), "waves")
	f.Hub.Restart()
	for _, name := range []string{"a", "b"} {
		app.On(name, "is reported in the new term", func(s fleetapi.ClusterState) bool {
			return s.Connection == v1alpha1.Connected && s.Current && s.State.Sync == report.InSync
		})
	}
	app.Settles(2)
	if _, now := web(t, f.Member("a"), "waves"); now != first {
		t.Errorf("a was told something by the start of a hub")
	}
	if _, now := web(t, f.Member("b"), "waves"); now != second {
		t.Errorf("b was told something by the start of a hub")
	}
}

// onlyB has b, for the rest of the test, labels that no other cluster has.
func onlyB(t *testing.T, f *testfleet.Fleet) {
	t.Helper()
	label := func(ctx context.Context, value string) error {
		cluster := &v1alpha1.Cluster{ObjectMeta: named("", "b")}
		return f.Hub.Client().Patch(ctx, cluster, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"only":`+value+`}}}`)))
	}
	if err := label(t.Context(), `"b"`); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = label(context.WithoutCancel(t.Context()), "null") }) // the fleet is gone if it fails
}

// overridden has b, and not a, run another image, and looks at what people are
// told of it.
func overridden(t *testing.T, f *testfleet.Fleet, app *testfleet.App) {
	t.Helper()
	object := app.Get()
	patch := client.MergeFrom(object.DeepCopy())
	object.Spec.Rollout = nil
	object.Spec.Overrides = []v1alpha1.Override{{
		Clusters: "only=b", Images: []v1alpha1.ImageOverride{{Name: "web", NewTag: "b"}},
		Patches: []v1alpha1.ObjectPatch{{Target: v1alpha1.PatchTarget{Kind: "Secret"}, Patch: "metadata: {labels: {patched: 'yes'}}"}},
	}}
	if err := f.Hub.Client().Patch(t.Context(), object, patch); err != nil {
		t.Fatal(err)
	}
	f.Deploy("waves", "web", stream(deployment("web", "web:2", 2), manifest("Secret", "login", map[string]any{"stringData": map[string]any{"password": "x1"}})))
	onlyB(t, f)
	runsImage(t, f.Member("b"), "waves", "web:b")
	app.Settles(2)
	login := &corev1.Secret{}
	if err := f.Member("b").Client().Get(t.Context(), client.ObjectKey{Namespace: "waves", Name: "login"}, login); err != nil || string(login.Data["password"]) != "x1" || login.Labels["patched"] != "yes" {
		t.Errorf("b has the Secret %v with labels %v: %v", len(login.Data["password"]), login.Labels, err)
	}
	if image, _ := web(t, f.Member("a"), "waves"); image != "web:2" {
		t.Errorf("a runs %s", image)
	}
	if out := f.Hub.CLI("explain", "app/web", "-p", "waves").Stdout; !has(out, "2 contents", "1 override") {
		t.Errorf("explain does not say it:\n%s", out)
	}
	if out := f.Hub.CLI("describe", "app/web", "-p", "waves").Stdout; !has(out, "on 1 cluster by override 0") {
		t.Errorf("the page does not say it:\n%s", out)
	}
}

func runsImage(t *testing.T, m *testfleet.Member, namespace, want string) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s runs %s", m.Name, want), func(context.Context) error {
		if image, _ := web(t, m, namespace); image != want {
			return fmt.Errorf("it runs %s", image)
		}
		return nil
	})
}
