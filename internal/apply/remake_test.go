package apply

import (
	"fmt"
	"strings"
	"testing"

	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/report"
)

// sealed is a ConfigMap that nobody can change.
func sealed(name, value, annotation string) string {
	return fmt.Sprintf("---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s, namespace: $NS, annotations: {%s}}\nimmutable: true\ndata: {k: %q}\n", name, annotation, value)
}

// TestWhatCannotBeChangedIsMadeAnew when a person or its manifest says so, and stays
// as it is otherwise.
func TestWhatCannotBeChangedIsMadeAnew(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy("shop", sealed("a", "1", "")+configMap("b", "k", "1"))
	w.deploy("other", sealed("c", "1", "atoll.dev/recreate: enabled"))
	w.synced("shop")
	w.synced("other")
	a, b, c := w.configUID("a"), w.configUID("b"), w.configUID("c")

	w.deploy("shop", sealed("a", "2", "")+configMap("b", "k", "2"))
	w.deploy("other", sealed("c", "2", "atoll.dev/recreate: enabled"))
	s := w.synced("other")
	if w.configUID("c") == c || field(w.get(configs, "c"), "data", "k") != "2" {
		t.Error("what its manifest has made anew was not")
	}
	if len(s.Drift) != 1 || s.Drift[0].New != report.Deleted || s.Drift[0].Manager != forcedBy || s.Corrections != 0 {
		t.Errorf("it is told as %s", describeState(s))
	}
	if p := w.problem("shop", "Invalid"); !strings.Contains(p.Message, "immutable") || w.configUID("a") != a {
		t.Errorf("nobody asked for it: %s", p.Message)
	}

	if err := w.engine.ForceNow(w.key("shop")); err != nil {
		t.Fatal(err)
	}
	w.synced("shop")
	if w.configUID("a") == a || w.configUID("b") != b || field(w.get(configs, "a"), "data", "k") != "2" {
		t.Error("forced: only what cannot be changed is made anew")
	}
	a = w.configUID("a")
	w.deploy("shop", sealed("a", "3", "")+configMap("b", "k", "3"))
	if w.problem("shop", "Invalid"); w.configUID("a") != a {
		t.Error("that somebody forced one sync was taken for all")
	}
	if err := w.engine.ForceNow(w.key("none")); err == nil {
		t.Error("an application that is not there was forced")
	}
}

// TestWhatIsGuardedIsNotMadeAnew, whoever asks for it.
func TestWhatIsGuardedIsNotMadeAnew(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	selecting := func(app, replicas string) string {
		m := deployment("web", "web:1", 1)
		return strings.Replace(strings.ReplaceAll(m, "{app: web}", "{app: "+app+"}"), "replicas: 1", "replicas: "+replicas, 1)
	}
	claim := func(mode string) string {
		return "---\napiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: claim, namespace: $NS}\nspec: {accessModes: [" + mode + "], resources: {requests: {storage: 1Gi}}}\n"
	}
	for app, tt := range map[string]struct{ before, after, why string }{
		"budget":  {sealed("one", "1", "") + sealed("two", "1", ""), sealed("one", "2", "") + sealed("two", "2", ""), "2 objects would be deleted, and one sync may delete 1"},
		"keep":    {sealed("kept", "1", "atoll.dev/prune: disabled"), sealed("kept", "2", "atoll.dev/prune: disabled"), "its annotations say that it stays"},
		"invalid": {selecting("web", "1"), selecting("other", "-1"), "the API server would not take the new one"},
		"volume":  {claim("ReadWriteOnce"), claim("ReadWriteMany"), "delete it by hand"},
	} {
		one := func(e *desired.Entry) { e.Policy.DeletionBudget = 1 }
		w.deploy(app, tt.before, one)
		w.state(app, "applied", func(s report.State) bool { return s.Objects > 0 && s.Applied == s.Objects })
		before := w.uids(app)
		w.deploy(app, tt.after, one)
		w.problem(app, "Invalid")
		if err := w.engine.ForceNow(w.key(app)); err != nil {
			t.Fatal(err)
		}
		w.state(app, "told why it is not made anew", func(s report.State) bool {
			p := find(s, "Invalid")
			return p != nil && strings.Contains(p.Message, "; it is not deleted to be made anew: ") && strings.Contains(p.Message, tt.why)
		})
		if after := w.uids(app); after != before {
			t.Errorf("%s: %s became %s", app, before, after)
		}
	}
}

// uids are the live objects that an application recorded.
func (w *world) uids(app string) string {
	w.t.Helper()
	views, err := w.engine.View(w.key(app))
	if err != nil {
		w.t.Fatal(err)
	}
	var all []string
	for _, v := range views {
		all = append(all, v.Ref.String()+" "+v.UID)
	}
	return strings.Join(all, ", ")
}

func (w *world) configUID(name string) string { return string(w.get(configs, name).GetUID()) }
