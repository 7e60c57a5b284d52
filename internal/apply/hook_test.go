package apply

import (
	"fmt"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/report"
)

var jobs = schema.GroupVersionResource{Group: "batch", Version: "v1", Resource: "jobs"}

// jobOf is a Job whose image says how it ends; annotations are in YAML's flow form.
func jobOf(name, image, annotations string, suspended bool) string {
	return fmt.Sprintf(`---
apiVersion: batch/v1
kind: Job
metadata: {name: %s, namespace: $NS, annotations: {%s}}
spec:
  suspend: %t
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      containers: [{name: task, image: %q, resources: {requests: {cpu: 10m}}}]
`, name, annotations, suspended, image)
}

func annotated(manifest, annotations string) string {
	return strings.Replace(manifest, "namespace: $NS}", "namespace: $NS, annotations: {"+annotations+"}}", 1)
}

func (w *world) uid(name string) string {
	w.t.Helper()
	return string(w.get(jobs, name).GetUID())
}

// launched waits for a Job that is another one than former.
func (w *world) launched(name, former string) (uid string) {
	w.t.Helper()
	w.eventually(name+" is made", func() bool {
		job, err := w.client.Resource(jobs).Namespace(w.project).Get(w.t.Context(), name, metav1.GetOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			w.t.Fatal(err)
		}
		if err == nil {
			uid = string(job.GetUID())
		}
		return uid != "" && uid != former
	})
	return uid
}

// resume lets a suspended Job run, once it is made.
func (w *world) resume(name, former string) (uid string) {
	w.t.Helper()
	uid = w.launched(name, former)
	w.edit(jobs, name, `{"spec":{"suspend":false}}`)
	return uid
}

func (w *world) says(app, what string) report.State {
	w.t.Helper()
	return w.state(app, "one that says: "+what, func(s report.State) bool { return strings.Contains(s.Message, what) })
}

// TestADeliveryGoesByItsStepsAndAHookRunsOnce has a migration first, then the
// configuration, then the workload, then a note; and in the middle of it the agent
// begins anew.
func TestADeliveryGoesByItsStepsAndAHookRunsOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	manifests := func(color string) string {
		return jobOf("migrate", "task:1", "argocd.argoproj.io/hook: PreSync", color == "blue") +
			jobOf("note", "task:1", "helm.sh/hook: 'post-install,post-upgrade', helm.sh/hook-delete-policy: 'hook-succeeded,before-hook-creation'", false) +
			annotated(configMap("once", "k", "v"), "helm.sh/hook: pre-install") +
			configMap("settings", "color", color) +
			annotated(deployment("web", "shop/web:1.0", 1), "atoll.dev/wave: '1'")
	}
	w.deploy("shop", manifests("blue"))
	s := w.says("shop", "waits for Job migrate of phase PreSync")
	if s.Sync != report.Progressing || s.Health != report.HealthUnknown || s.Objects != 5 {
		t.Error(describeState(s))
	}
	uid := w.launched("migrate", "")
	w.halt()
	w.start()
	w.says("shop", "waits for Job migrate of phase PreSync")
	if w.exists(configs, "settings") || w.exists(deployments, "web") || w.uid("migrate") != uid {
		t.Fatal("a later step began, or the migration began anew")
	}
	w.edit(jobs, "migrate", `{"spec":{"suspend":false}}`)
	if s := w.state("shop", "well", report.State.Well); s.Applied != 5 || s.Ready != 5 {
		t.Error(describeState(s))
	}
	w.eventually("the note is deleted, as its policy says", func() bool { return !w.exists(jobs, "note") })
	if !w.exists(deployments, "web") || w.uid("migrate") != uid {
		t.Error("the migration was made again")
	}

	// What is deleted is not made again: not by drift, not after a restart, not for
	// another generation of the same content.
	w.deleteObject(jobs, "migrate")
	w.deleteObject(configs, "once")
	w.eventually("they are gone", func() bool { return !w.exists(jobs, "migrate") })
	w.halt()
	w.start()
	w.change("shop", func(e *desired.Entry) { e.Generation++ })
	w.state("shop", "well", report.State.Well)
	w.edit(configs, "settings", `{"data":{"color":"green"}}`)
	w.eventually("a drift is corrected", func() bool { return field(w.get(configs, "settings"), "data", "color") == "blue" })
	if w.exists(jobs, "migrate") || w.exists(jobs, "note") || w.exists(configs, "once") {
		t.Fatal("a hook was run a second time")
	}

	// Another content runs them anew, but for what is for a first delivery; going
	// back to the first content runs none.
	w.deploy("shop", manifests("red"))
	w.state("shop", "well", report.State.Well)
	if again := w.uid("migrate"); again == uid || w.exists(configs, "once") {
		t.Errorf("migrate was %s and is %s", uid, again)
	}
	w.deleteObject(jobs, "migrate")
	w.eventually("it is gone", func() bool { return !w.exists(jobs, "migrate") })
	w.deploy("shop", manifests("blue"))
	w.state("shop", "well", report.State.Well)
	if w.exists(jobs, "migrate") || field(w.get(configs, "settings"), "data", "color") != "blue" {
		t.Errorf("the rollback ran the hook of a content that had run: %v", w.get(configs, "settings").Object["data"])
	}
}

func TestAHookThatFailsStopsTheDeliveryAndRunsTheAlarm(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	manifests := func(image, color string) string {
		return jobOf("migrate", image, "atoll.dev/phase: PreSync", false) +
			jobOf("alarm", "task:1", "argocd.argoproj.io/hook: SyncFail", false) + configMap("settings", "color", color)
	}
	w.deploy("shop", manifests("task:1", "blue"))
	w.state("shop", "well", report.State.Well)
	former := w.uid("migrate")
	if w.exists(jobs, "alarm") {
		t.Error("the alarm ran although nothing failed")
	}
	w.deploy("shop", manifests("task:fail", "red"))
	if p := w.problem("shop", "HookFailed"); p.Object.Name != "migrate" || !strings.Contains(p.Message, "the job failed: BackoffLimitExceeded") {
		t.Errorf("the problem is %+v", p)
	}
	w.eventually("the alarm runs", func() bool { return w.exists(jobs, "alarm") })
	s := w.state("shop", "Failed", func(s report.State) bool { return s.Sync == report.Failed && s.Applied == 1 })
	if !strings.HasPrefix(s.Message, "HookFailed: Job.batch/migrate in "+w.project) || field(w.get(configs, "settings"), "data", "color") != "blue" {
		t.Error(describeState(s))
	}
	failed, alarm := w.uid("migrate"), w.uid("alarm")
	w.halt()
	w.start()
	w.problem("shop", "HookFailed")
	if failed == former || w.uid("migrate") != failed || w.uid("alarm") != alarm {
		t.Error("a restart ran hooks again")
	}
	w.deploy("shop", manifests("task:2", "green"))
	w.state("shop", "well", report.State.Well)
	if field(w.get(configs, "settings"), "data", "color") != "green" {
		t.Error("the mended content was not delivered")
	}
}

// TestAHookIsTakenUpWhereAnAgentDied has an agent die after it made the object of
// a hook and before it recorded that.
func TestAHookIsTakenUpWhereAnAgentDied(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy("shop", jobOf("migrate", "task:1", "atoll.dev/phase: PreSync", false)+configMap("settings", "color", "blue"))
	w.state("shop", "well", report.State.Well)
	uid := w.uid("migrate")
	kept := w.remember().inventories
	inv, err := decodeInventory(kept[w.key("shop")])
	if err != nil {
		t.Fatal(err)
	}
	inv.Records, inv.Runs = nil, []run{{ID: inv.Runs[0].ID, Content: inv.Runs[0].Content, Stage: runBegun}}
	data, err := inv.encode()
	if err != nil {
		t.Fatal(err)
	}
	w.memory = &Volatile{kept: map[desired.Key][]byte{w.key("shop"): data}}
	w.start()
	w.state("shop", "well", report.State.Well)
	if w.uid("migrate") != uid {
		t.Error("the hook ran a second time")
	}
	// Somebody else's object in the place of a hook is not deleted.
	w.create(jobs, map[string]any{"apiVersion": "batch/v1", "kind": "Job", "metadata": map[string]any{"name": "theirs"}, "spec": map[string]any{
		"suspend": true, "template": map[string]any{"spec": map[string]any{"restartPolicy": "Never", "containers": []any{map[string]any{"name": "x", "image": "task:1"}}}}}})
	theirs := w.uid("theirs")
	w.deploy("third", jobOf("theirs", "task:1", "atoll.dev/phase: PreSync", false))
	if p := w.problem("third", "Conflict"); !strings.Contains(p.Message, "was not made for an earlier content") || w.uid("theirs") != theirs {
		t.Errorf("the problem is %+v", p)
	}
}

func TestWhatDependsOnAnotherWaitsForItOnTheCluster(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	after := func(names ...string) func(*desired.Entry) { return func(e *desired.Entry) { e.After = names } }
	w.deploy("db", jobOf("prepare", "task:1", "atoll.dev/phase: PreSync", true)+configMap("db", "version", "1"))
	w.deploy("shop", configMap("shop", "version", "1"), after("db", "elsewhere"))
	s := w.says("shop", "waits for app/db, which is not yet in sync and healthy here")
	if s.Sync != report.Progressing || w.exists(configs, "shop") {
		t.Error(describeState(s))
	}
	former := w.resume("prepare", "")
	w.state("shop", "well", report.State.Well)

	// A change waits too, while what was delivered is kept as it is.
	w.deploy("db", jobOf("prepare", "task:1", "atoll.dev/phase: PreSync", true)+configMap("db", "version", "2"))
	w.says("db", "waits for Job prepare")
	w.deploy("shop", configMap("shop", "version", "2"), after("db"))
	w.says("shop", "waits for app/db")
	w.edit(configs, "shop", `{"data":{"version":"0"}}`)
	w.deleteObject(configs, "db")
	w.eventually("what was deleted in the meantime waits for its own step", func() bool { return !w.exists(configs, "db") })
	if v := field(w.get(configs, "shop"), "data", "version"); v == "2" {
		t.Errorf("version %s came before its time", v)
	}
	w.resume("prepare", former)
	w.state("db", "well", report.State.Well)
	w.state("shop", "well", report.State.Well)
	if v := field(w.get(configs, "shop"), "data", "version"); v != "2" {
		t.Errorf("version %s", v)
	}
}
