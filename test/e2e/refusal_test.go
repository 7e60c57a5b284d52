package e2e_test

import (
	"context"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"atoll.dev/atoll/api/v1alpha1"
	fleetapi "atoll.dev/atoll/internal/fleet"
	"atoll.dev/atoll/internal/report"
)

func TestAManifestThatTheAPIRefusesHoldsBackNothingElseAndSaysWhy(t *testing.T) {
	f := fleet(t)
	f.Project("refused")
	bad := strings.Replace(deployment("web", "web:1", 1), `"matchLabels":{"app":"web"}`, `"matchLabels":{"app":"other"}`, 1)
	app := f.Deploy("refused", "web", stream(configMap("one", "1"), bad, configMap("two", "2")), "--cluster", "a")
	state := app.On("a", "names the refused object", func(s fleetapi.ClusterState) bool {
		p, ok := problem(s.State, "Invalid")
		return ok && s.State.Sync == report.Failed && p.Object.Name == "web" && has(p.Message, "selector")
	})
	if state.State.Health == report.HealthHealthy {
		t.Error("it is reported healthy")
	}
	becomes(t, f.Member("a"), "refused", "one", "1")
	becomes(t, f.Member("a"), "refused", "two", "2")
	if out := f.Hub.CLI("status").Stdout; !has(out, "FAILING", "refused/web", "Invalid", "atoll explain app/web") {
		t.Errorf("status does not name it:\n%s", out)
	}
	f.Deploy("refused", "web", stream(configMap("one", "1"), deployment("web", "web:1", 1), configMap("two", "2")))
	app.Settles(1)
}

func TestWrongManifestsAreRefusedAtTheUploadByFileAndObject(t *testing.T) {
	f := fleet(t)
	f.Project("wrong")
	big := func(size int) string { return configMap("giant", strings.Repeat("x", size)) }
	for name, tt := range map[string]struct {
		manifests string
		says      []string
	}{
		"an object of more than 1 MiB": {stream(configMap("small", "1"), big(1<<20+1)), []string{"ConfigMap/giant", "1048576", "document 2"}},
		"an object of 3 MB":            {big(3_000_000), []string{"ConfigMap/giant", "1048576"}},
		"invalid YAML":                 {"kind: ConfigMap\n  apiVersion: v1\n", []string{"stdin", "line"}},
		"an object twice":              {stream(configMap("same", "1"), configMap("same", "2")), []string{"ConfigMap/same", "document 2"}},
		"no kind":                      {"apiVersion: v1\nmetadata: {name: x}\n", []string{"kind"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := f.Hub.CLIWith(tt.manifests, "deploy", "wrong", "-p", "wrong", "-f", "-", "--cluster", "a")
			if r.Code != 2 || !has(r.Stderr, tt.says...) {
				t.Errorf("want exit 2 and %q: %s", tt.says, r)
			}
			if len(r.Stderr) > 2000 {
				t.Errorf("the refusal has %d bytes", len(r.Stderr))
			}
			err := f.Hub.Client().Get(t.Context(), client.ObjectKey{Namespace: "wrong", Name: "wrong"}, &v1alpha1.Application{})
			if err == nil {
				t.Error("the application was made all the same")
			}
		})
	}
}

const widgets = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.e2e.example}
spec:
  group: e2e.example
  scope: Namespaced
  names: {kind: Widget, plural: widgets, singular: widget, listKind: WidgetList}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {size: {type: integer}}}}}}
`

func TestAnObjectWhoseKindArrivesLaterIsAppliedThen(t *testing.T) {
	f := fleet(t)
	f.Project("later")
	m := f.Member("a")
	widget := `{"apiVersion":"e2e.example/v1","kind":"Widget","metadata":{"name":"w"},"spec":{"size":3}}` + "\n"
	app := f.Deploy("later", "web", stream(configMap("plain", "1"), widget), "--cluster", "a")
	app.On("a", "misses the kind", func(s fleetapi.ClusterState) bool {
		p, ok := problem(s.State, "NoKind")
		return ok && p.Object.Kind == "Widget" && s.State.Sync == report.Failed
	})
	becomes(t, m, "later", "plain", "1")
	crd := decode(t, widgets)
	if err := m.Client().Create(t.Context(), crd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Client().Delete(context.Background(), crd) })
	app.On("a", "is in sync", func(s fleetapi.ClusterState) bool { return s.State.Sync == report.InSync })
	w := decode(t, widget)
	if err := m.Client().Get(t.Context(), client.ObjectKey{Namespace: "later", Name: "w"}, w); err != nil {
		t.Fatal(err)
	}
	if size, _, _ := unstructured.NestedInt64(w.Object, "spec", "size"); size != 3 {
		t.Errorf("its size is %d", size)
	}
}

func decode(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	u := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &u.Object); err != nil {
		t.Fatal(err)
	}
	return u
}

func TestTwoApplicationsThatRenderOneObjectDoNotFightForIt(t *testing.T) {
	f := fleet(t)
	f.Project("owners")
	m := f.Member("a")
	first := f.Deploy("owners", "first", stream(configMap("shared", "first"), configMap("one", "1")), "--cluster", "a")
	first.Settles(1)
	second := f.Deploy("owners", "second", stream(configMap("shared", "second"), configMap("two", "2")), "--cluster", "a")
	second.On("a", "is held by the owner", func(s fleetapi.ClusterState) bool {
		p, ok := problem(s.State, "OwnedBy")
		return ok && s.State.Sync == report.Held && p.Object.Name == "shared" && has(p.Message, "app/first")
	})
	becomes(t, m, "owners", "two", "2")
	becomes(t, m, "owners", "shared", "first")
	first.Settles(1)
	if out := f.Hub.CLI("status").Stdout; !has(out, "HELD", "owners/second", "OwnedBy") {
		t.Errorf("status does not name it:\n%s", out)
	}
	before := &corev1.ConfigMap{}
	if err := m.Client().Get(t.Context(), client.ObjectKey{Namespace: "owners", Name: "shared"}, before); err != nil {
		t.Fatal(err)
	}
	f.Deploy("owners", "first", configMap("one", "1"))
	second.Settles(1)
	becomes(t, m, "owners", "shared", "second")
	after := &corev1.ConfigMap{}
	if err := m.Client().Get(t.Context(), client.ObjectKeyFromObject(before), after); err != nil || after.UID != before.UID {
		t.Errorf("it was deleted between its owners (%v)", err)
	}
}

func TestAFullLocalStoreIsVisibleAndEnforcementGoesOn(t *testing.T) {
	f := fleet(t)
	f.Project("full")
	m := f.Member("a")
	app := f.Deploy("full", "web", configMap("web", "1"), "--cluster", "a")
	app.Settles(1)
	quota := &corev1.ResourceQuota{ObjectMeta: named(v1alpha1.SystemNamespace, "no-more-secrets"),
		Spec: corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{"count/secrets": resource.MustParse("1")}}}
	if err := m.Client().Create(t.Context(), quota); err != nil {
		t.Fatal(err)
	}
	lift := func() { _ = m.Client().Delete(context.Background(), quota) }
	defer lift()
	eventually(t, "the quota counts", func(ctx context.Context) error {
		if err := m.Client().Get(ctx, client.ObjectKeyFromObject(quota), quota); err != nil || len(quota.Status.Used) > 0 {
			return err
		}
		return context.DeadlineExceeded
	})
	f.Deploy("full", "web", stream(configMap("web", "2"), configMap("more", "1")))
	app.On("a", "says that its store is full", func(s fleetapi.ClusterState) bool {
		p, ok := problem(s.State, "StoreFull")
		return ok && has(p.Message, "quota")
	})
	becomes(t, m, "full", "web", "2")
	deleteIn(t, m, &corev1.ConfigMap{ObjectMeta: named("full", "more")})
	becomes(t, m, "full", "more", "1")
	lift()
	app.On("a", "has stored it", func(s fleetapi.ClusterState) bool {
		_, still := problem(s.State, "StoreFull")
		return !still && s.State.Sync == report.InSync
	})
	// What was stored late is there for an agent that starts without its hub.
	f.Hub.Kill()
	t.Cleanup(func() {
		if t.Failed() {
			f.Hub.Start() // the tests after this one share it
		}
	})
	m.Agent.Kill()
	deleteIn(t, m, &corev1.ConfigMap{ObjectMeta: named("full", "more")})
	m.Agent.Start()
	becomes(t, m, "full", "more", "1")
	f.Hub.Start()
	app.Settles(1)
}

func TestObjectsStayWhenTheirApplicationGoesUnlessItSaysOtherwise(t *testing.T) {
	f := fleet(t)
	f.Project("leaving")
	m := f.Member("a")
	f.Deploy("leaving", "stays", configMap("stays", "1"), "--cluster", "a").Settles(1)
	f.Hub.MustCLI("delete", "app/stays", "-p", "leaving", "--confirm", "stays")
	f.Hub.MustCLI("wait", "app/stays", "-p", "leaving", "--for=deleted")
	f.Deploy("leaving", "goes", configMap("goes", "1"), "--cluster", "a", "--on-delete", "Delete").Settles(1)
	if r := f.Hub.CLI("delete", "app/goes", "-p", "leaving", "--confirm", "wrong"); r.Code != 2 {
		t.Errorf("deleted under a wrong name: %s", r)
	}
	f.Hub.MustCLI("delete", "app/goes", "-p", "leaving", "--confirm", "goes")
	f.Hub.MustCLI("wait", "app/goes", "-p", "leaving", "--for=deleted")
	if exists(t, m, &corev1.ConfigMap{}, "leaving", "goes") {
		t.Error("the application is gone and its object is not")
	}
	becomes(t, m, "leaving", "stays", "1")
	cm := &corev1.ConfigMap{}
	if err := m.Client().Get(t.Context(), client.ObjectKey{Namespace: "leaving", Name: "stays"}, cm); err != nil {
		t.Fatal(err)
	}
	if err := m.Client().Delete(t.Context(), cm); err != nil { // and nobody brings it back
		t.Fatal(err)
	}
	f.Deploy("leaving", "witness", configMap("witness", "1"), "--cluster", "a").Settles(1)
	if exists(t, m, &corev1.ConfigMap{}, "leaving", "stays") {
		t.Error("an object without an application is still enforced")
	}
}

func TestTwoThousandObjectsAreAppliedAndPrunedWithinTheBudget(t *testing.T) {
	f := fleet(t)
	f.Project("crowd")
	m := f.Member("a")
	app := f.Deploy("crowd", "items", configMaps(0, 2000, "1"), "--cluster", "a")
	app.Settles(1)
	count(t, m, "crowd", 2000)
	f.Deploy("crowd", "items", configMaps(10, 1990, "1")) // ten fewer: the default budget
	count(t, m, "crowd", 1990)
	app.Settles(1)
	f.Deploy("crowd", "items", configMaps(10, 1890, "2"))
	held := app.On("a", "holds the deletions", func(s fleetapi.ClusterState) bool {
		_, ok := problem(s.State, "DeletionHeld")
		return ok && s.State.Sync == report.Held && s.State.HeldDeletion != "" && int(s.State.Applied) == 1890
	})
	count(t, m, "crowd", 1990)
	becomes(t, m, "crowd", "item-00010", "2") // the rest of the change is not held
	if out := f.Hub.CLI("status").Stdout; !has(out, "HELD", "crowd/items", "atoll allow-deletion app/items") {
		t.Errorf("status does not name it:\n%s", out)
	}
	r := f.Hub.CLI("allow-deletion", "app/items", "-p", "crowd", "--confirm", "items")
	if r.Code != 0 || !has(r.Stderr, "100 deletions") {
		t.Errorf("allow-deletion of %s: %s", held.State.HeldDeletion, r)
	}
	count(t, m, "crowd", 1890)
	app.Settles(1)
}

func TestASourceThatSuddenlyYieldsNothingDeletesNothing(t *testing.T) {
	f := fleet(t)
	f.Project("empty")
	app := f.Deploy("empty", "items", configMaps(0, 3, "1"), "--cluster", "a")
	app.Settles(1)
	if r := f.Hub.CLIWith("# nothing\n", "deploy", "items", "-p", "empty", "-f", "-"); r.Code == 0 {
		app.On("a", "holds", func(s fleetapi.ClusterState) bool { return s.State.Sync == report.Held })
	}
	count(t, f.Member("a"), "empty", 3)
}
