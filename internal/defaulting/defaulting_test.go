package defaulting_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"atoll.dev/atoll/internal/defaulting"
)

func read(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	u := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &u.Object); err != nil {
		t.Fatal(err)
	}
	return u
}

func TestWhatTheTypeDefaultsIsFilledIn(t *testing.T) {
	u := read(t, `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
unknown: gone
spec:
  selector: {matchLabels: {a: b}}
  template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: nginx}]}}
`)
	if err := defaulting.Fill(u); err != nil {
		t.Fatal(err)
	}
	got := map[string]any{}
	for _, field := range [][]string{{"spec", "replicas"}, {"spec", "strategy", "type"}, {"spec", "template", "spec", "restartPolicy"}, {"unknown"}, {"kind"}} {
		value, _, _ := unstructured.NestedFieldNoCopy(u.Object, field...)
		got[field[len(field)-1]] = value
	}
	want := map[string]any{"replicas": int64(1), "type": "RollingUpdate", "restartPolicy": "Always", "unknown": nil, "kind": "Deployment"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestOtherKindsStayAndNonsenseIsRefused(t *testing.T) {
	custom := read(t, "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: w}\nspec: {a: 1}\n")
	before := custom.DeepCopy()
	if err := defaulting.Fill(custom); err != nil || !cmp.Equal(before.Object, custom.Object) {
		t.Errorf("%v %v", err, custom.Object)
	}
	if err := defaulting.Fill(read(t, "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: w}\nspec: {replicas: many}\n")); err == nil {
		t.Error("a Deployment of many replicas is one")
	}
}
