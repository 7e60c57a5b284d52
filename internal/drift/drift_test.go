package drift

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"pgregory.net/rapid"
	"sigs.k8s.io/yaml"
)

const ours = "atoll/demo/shop"

// live is a Deployment as the API server holds it; others may own fields too.
func live(t *testing.T, spec string, theirs ...string) *unstructured.Unstructured {
	t.Helper()
	text := `
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  namespace: shop
  resourceVersion: "7"
  labels: {app: web}
  managedFields:
  - manager: ` + ours + `
    operation: Apply
    apiVersion: apps/v1
    time: "2026-01-01T00:00:00Z"
    fieldsType: FieldsV1
    fieldsV1: {"f:metadata":{"f:labels":{"f:app":{}}},"f:spec":{"f:replicas":{},"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"web\"}":{".":{},"f:name":{},"f:image":{}}}}}}}
` + strings.Join(theirs, "") + `
spec: ` + spec
	data, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(data); err != nil {
		t.Fatal(err)
	}
	return u
}

func manager(name, fields string) string {
	return "  - {manager: " + name + ", operation: Update, apiVersion: apps/v1, time: \"2026-01-02T00:00:00Z\", fieldsType: FieldsV1, fieldsV1: " + fields + "}\n"
}

const asDelivered = `{replicas: 2, template: {spec: {containers: [{name: web, image: "a:1", imagePullPolicy: Always}, {name: sidecar, image: "s:1"}]}}}`

func taken(t *testing.T) Baseline {
	t.Helper()
	b, err := Take(live(t, asDelivered), ours, nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestCompareFindsEachChangedFieldAndItsWriter(t *testing.T) {
	b := taken(t)
	now := live(t, `{replicas: 5, template: {spec: {containers: [{name: sidecar, image: "s:2"}, {name: web, image: "b:2"}]}}}`,
		manager("kubectl-edit", `{"f:spec":{"f:replicas":{}}}`),
		manager("evil", `{"f:spec":{"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"web\"}":{"f:image":{}}}}}}}`))
	changes, err := Compare(b, now, ours, nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range changes {
		got = append(got, Dotted(c.Path)+"="+Text(c.New)+" by "+c.Manager)
	}
	want := []string{"spec.replicas=5 by kubectl-edit", "spec.template.spec.containers[name=web].image=b:2 by evil"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestSidecarsDefaultsAndOrderAreNoDrift(t *testing.T) {
	now := live(t, `{replicas: 2, paused: true, template: {spec: {dnsPolicy: Default, containers: [{name: injected}, {name: web, image: "a:1"}]}}}`)
	changes, err := Compare(taken(t), now, ours, nil)
	if err != nil || len(changes) != 0 {
		t.Errorf("%+v %v", changes, err)
	}
}

func TestALostListElementIsOneChange(t *testing.T) {
	changes, err := Compare(taken(t), live(t, `{replicas: 2, template: {spec: {containers: []}}}`), ours, nil)
	if err != nil || len(changes) != 1 || !changes[0].Gone || Dotted(changes[0].Path) != "spec.template.spec.containers[name=web]" {
		t.Errorf("%+v %v", changes, err)
	}
}

func TestGivenUpFieldsAreNotCompared(t *testing.T) {
	changes, err := Compare(taken(t), live(t, strings.Replace(asDelivered, "replicas: 2", "replicas: 9", 1)), ours, replicas)
	if err != nil || len(changes) != 0 {
		t.Errorf("%+v %v", changes, err)
	}
}

func TestOwnershipAloneTellsThatNothingWasTouched(t *testing.T) {
	b, before := taken(t), live(t, asDelivered)
	if !b.Untouched(EntryHashOf(before.Object, ours)) || EntryHashOf(before.Object, ours) != EntryHash(before.GetManagedFields(), ours) {
		t.Error("an untouched object looks touched")
	}
	stolen := live(t, asDelivered)
	entry := stolen.Object["metadata"].(map[string]any)["managedFields"].([]any)[0].(map[string]any)
	delete(entry["fieldsV1"].(map[string]any)["f:spec"].(map[string]any), "f:replicas")
	if b.Untouched(EntryHashOf(stolen.Object, ours)) {
		t.Error("a field that was taken away goes unseen")
	}
	if EntryHashOf(stolen.Object, "someone") != 0 {
		t.Error("a manager without fields has a hash")
	}
}

func TestKeepingReportsWhatWasLeft(t *testing.T) {
	b := taken(t)
	drifted := live(t, strings.Replace(asDelivered, "replicas: 2", "replicas: 9", 1), manager("person", `{"f:spec":{"f:replicas":{}}}`))
	changes, err := Compare(b, drifted, ours, nil)
	if err != nil {
		t.Fatal(err)
	}
	// The next delivery leaves spec.replicas to the person.
	entry := drifted.Object["metadata"].(map[string]any)["managedFields"].([]any)[0].(map[string]any)
	delete(entry["fieldsV1"].(map[string]any)["f:spec"].(map[string]any), "f:replicas")
	next, err := Take(drifted, ours, nil)
	if err != nil {
		t.Fatal(err)
	}
	if next, err = next.Keeping(b, changes); err != nil {
		t.Fatal(err)
	}
	again, err := Compare(next, drifted, ours, nil)
	if err != nil || len(again) != 1 || Dotted(again[0].Path) != "spec.replicas" || next.Untouched(next.Entry) {
		t.Errorf("%+v %v", again, err)
	}
}

func TestAdditionsAreOnlyWhatOthersPutThere(t *testing.T) {
	exact := mustPaths(t, "metadata.labels", "spec.template.spec.containers", "spec")
	now := live(t, asDelivered, manager("person", `{"f:metadata":{"f:labels":{"f:mine":{},"f:x.kubernetes.io/y":{},"f:kubernetes.io/z":{}}},"f:spec":{"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"sidecar\"}":{".":{},"f:name":{}}}}}}}`))
	now.SetLabels(map[string]string{"app": "web", "mine": "1", "x.kubernetes.io/y": "1", "kubernetes.io/z": "1", "nobody": "1"})
	found, err := Additions(now, ours, exact, nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, a := range found {
		got = append(got, a.Pointer)
	}
	if diff := cmp.Diff([]string{"/metadata/labels/mine", "/spec/template/spec/containers/1"}, got); diff != "" {
		t.Error(diff)
	}
	// What is left to others they may add, and it is not taken out with what holds it.
	for left, want := range map[string]string{
		"metadata.labels": "/spec/template/spec/containers/1", "metadata.labels[mine]": "/spec/template/spec/containers/1",
		"spec.template.spec.containers[name=sidecar].image": "/metadata/labels/mine",
	} {
		found, err := Additions(now, ours, exact, mustPaths(t, left))
		if err != nil || len(found) != 1 || found[0].Pointer != want {
			t.Errorf("with %s left to others: %+v %v", left, found, err)
		}
	}
}

func TestRemovalsOfOneListGoFromItsEnd(t *testing.T) {
	found := map[string]Addition{}
	for _, p := range []string{"/l/2", "/l/10", "/l/0", "/a/x"} {
		found[p] = Addition{Pointer: p}
	}
	var got []string
	for _, a := range removable(found) {
		got = append(got, a.Pointer)
	}
	if diff := cmp.Diff([]string{"/a/x", "/l/10", "/l/2", "/l/0"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestScalersSayWhatTheyGovern(t *testing.T) {
	for name, c := range map[string]struct {
		yaml   string
		target Target
		paths  string
	}{
		"hpa": {
			"{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: s, namespace: ns}, spec: {scaleTargetRef: {apiVersion: apps/v1, kind: StatefulSet, name: db}}}",
			Target{"apps", "StatefulSet", "ns", "db"}, "spec.replicas",
		},
		"keda, with its default kind": {
			"{apiVersion: keda.sh/v1alpha1, kind: ScaledObject, metadata: {name: s, namespace: ns}, spec: {scaleTargetRef: {name: web, envSourceContainerName: x}}}",
			Target{"apps", "Deployment", "ns", "web"}, "spec.replicas",
		},
		"vpa": {
			"{apiVersion: autoscaling.k8s.io/v1, kind: VerticalPodAutoscaler, metadata: {name: s, namespace: ns}, spec: {targetRef: {apiVersion: apps/v1, kind: Deployment, name: web}}}",
			Target{"apps", "Deployment", "ns", "web"}, "spec.template.spec.containers[*].resources",
		},
		"vpa for one container": {
			"{apiVersion: autoscaling.k8s.io/v1, kind: VerticalPodAutoscaler, metadata: {name: s, namespace: ns}, spec: {targetRef: {apiVersion: apps/v1, kind: Deployment, name: web}, resourcePolicy: {containerPolicies: [{containerName: '*', mode: 'Off'}, {containerName: app}]}}}",
			Target{"apps", "Deployment", "ns", "web"}, "spec.template.spec.containers[name=app].resources",
		},
	} {
		g, ok := Governs(parse(t, c.yaml))
		if !ok || g.Target != c.target || g.Paths[0].String() != c.paths {
			t.Errorf("%s: %v %+v", name, ok, g)
		}
	}
	for name, text := range map[string]string{
		"a vpa that only recommends": "{apiVersion: autoscaling.k8s.io/v1, kind: VerticalPodAutoscaler, metadata: {name: s, namespace: ns}, spec: {targetRef: {kind: Deployment, name: web}, updatePolicy: {updateMode: 'Off'}}}",
		"no target":                  "{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: s}, spec: {}}",
		"another kind":               "{apiVersion: v1, kind: ConfigMap, metadata: {name: s}}",
	} {
		if g, ok := Governs(parse(t, text)); ok {
			t.Errorf("%s governs %+v", name, g)
		}
	}
}

func TestPauses(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(d time.Duration) map[string]string {
		return map[string]string{"atoll.dev/pause-until": now.Add(d).Format(time.RFC3339)}
	}
	for name, c := range map[string]struct {
		object, namespace map[string]string
		forbidden         bool
		holds, ignored    bool
	}{
		"none":                       {},
		"an hour":                    {object: at(time.Hour), holds: true},
		"of the namespace":           {namespace: at(time.Hour), holds: true},
		"exactly a day":              {object: at(24 * time.Hour), holds: true},
		"more than a day":            {object: at(24*time.Hour + time.Second), ignored: true},
		"over":                       {object: at(-time.Second)},
		"nonsense":                   {object: map[string]string{"atoll.dev/pause-until": "soon"}, ignored: true},
		"forbidden":                  {object: at(time.Hour), forbidden: true, ignored: true},
		"one nonsense and one valid": {object: map[string]string{"atoll.dev/pause-until": ""}, namespace: at(time.Hour), holds: true, ignored: true},
	} {
		p := PauseOf(c.object, c.namespace, now, c.forbidden)
		if p.Holds(now) != c.holds || (p.Ignored != "") != c.ignored {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

func TestWithoutRemovesJustThat(t *testing.T) {
	manifest := parse(t, "{spec: {replicas: 2, template: {spec: {containers: [{name: web, resources: {a: 1}}, {name: db, resources: {a: 1}}]}}, ports: [{port: 80}, {port: 81}]}}")
	Without(manifest, mustPaths(t, "spec.replicas", "spec.template.spec.containers[name=web].resources", "spec.ports[port=81]", "spec.absent.field"))
	want := parse(t, "{spec: {template: {spec: {containers: [{name: web}, {name: db, resources: {a: 1}}]}}, ports: [{port: 80}]}}")
	if diff := cmp.Diff(want, manifest); diff != "" {
		t.Error(diff)
	}
}

func TestOnlyKeepsTheFieldsAndTheirKeys(t *testing.T) {
	obj := live(t, asDelivered)
	held, err := Held(obj.GetManagedFields(), ours, mustPaths(t, "spec.replicas", "spec.template.spec.containers[*].image"))
	if err != nil {
		t.Fatal(err)
	}
	want := parse(t, `{spec: {replicas: 2, template: {spec: {containers: [{name: web, image: "a:1"}]}}}}`)
	if diff := cmp.Diff(toJSON(t, want), toJSON(t, Only(obj.Object, held))); diff != "" {
		t.Error(diff)
	}
}

// TestAnyChangeOfAnOwnedValueIsFound draws objects and changes one owned leaf.
func TestAnyChangeOfAnOwnedValueIsFound(t *testing.T) {
	before := live(t, asDelivered)
	b := taken(t)
	rapid.Check(t, func(rt *rapid.T) {
		now := before.DeepCopy()
		n := rapid.Int64Range(0, 100).Draw(rt, "replicas")
		image := rapid.SampledFrom([]string{"a:1", "b:2", ""}).Draw(rt, "image")
		_ = unstructured.SetNestedField(now.Object, n, "spec", "replicas")
		containers, _, _ := unstructured.NestedSlice(now.Object, "spec", "template", "spec", "containers")
		containers[0].(map[string]any)["image"] = image
		_ = unstructured.SetNestedSlice(now.Object, containers, "spec", "template", "spec", "containers")
		want := 0
		if n != 2 {
			want++
		}
		if image != "a:1" {
			want++
		}
		if changes, err := Compare(b, now, ours, nil); err != nil || len(changes) != want {
			rt.Fatalf("%+v %v", changes, err)
		}
	})
}

func TestTextIsShortAndWhole(t *testing.T) {
	if got := Text(strings.Repeat("ä", 100)); len(got) > MaxValue+len("…") || !strings.HasSuffix(got, "ä…") {
		t.Errorf("%q", got)
	}
	if got := Text(map[string]any{"a": int64(1)}); got != `{"a":1}` {
		t.Errorf("%q", got)
	}
}

func mustPaths(t *testing.T, texts ...string) Paths {
	t.Helper()
	var out Paths
	for _, text := range texts {
		p, err := ParsePath(text)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
	return out
}

func parse(t *testing.T, text string) map[string]any {
	t.Helper()
	data, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]any{}
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func toJSON(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
