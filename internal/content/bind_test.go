package content_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"atoll.dev/atoll/internal/content"
)

func bindable(value string) string {
	return configMap("a") + "data:\n  ${atoll:cluster.region}: " + value + "\n"
}

func TestResolveBindsOnlyInsideStringValues(t *testing.T) {
	bindings := map[string]string{"cluster.region": "eu-1", "cluster.name": "one", "var.color": "${atoll:cluster.name}"}
	tests := []struct{ name, value, want string }{
		{"a whole value", "'${atoll:cluster.region}'", "eu-1"},
		{"parts of a value", "'https://${atoll:cluster.name}.${atoll:cluster.region}.example'", "https://one.eu-1.example"},
		{"an escape", "'$${atoll:cluster.name}'", "${atoll:cluster.name}"},
		{"an escape beside a reference", "'$${atoll:x} ${atoll:cluster.name}'", "${atoll:x} one"},
		{"a value is not bound again", "'${atoll:var.color}'", "${atoll:cluster.name}"},
		{"other templates stay", "'${HOME} $(x) {{ y }}'", "${HOME} $(x) {{ y }}"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			objects, err := parse(t, bindable(tt.value)).Bundle.Resolve(bindings, nil)
			if err != nil {
				t.Fatal(err)
			}
			want := map[string]any{"${atoll:cluster.region}": tt.want}
			if diff := cmp.Diff(want, objects[0].Object["data"]); diff != "" {
				t.Errorf("data (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWithoutBindingsEverythingIsAsWritten(t *testing.T) {
	objects, err := parse(t, bindable("'$${atoll:a} ${atoll:cluster.name} ${atoll:'")).Bundle.Resolve(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"${atoll:cluster.region}": "$${atoll:a} ${atoll:cluster.name} ${atoll:"}
	if diff := cmp.Diff(want, objects[0].Object["data"]); diff != "" {
		t.Errorf("data (-want +got):\n%s", diff)
	}
}

func TestResolveNamesObjectAndFieldOfWhatCannotBeBound(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"an unknown name", bindable("'${atoll:var.nope}'"), "ConfigMap/a: data.${atoll:cluster.region}: ${atoll:var.nope} has no value here"},
		{"inside a list", configMap("a") + "x: [[{z: '${atoll:var.nope}'}]]", "ConfigMap/a: x[0][0].z: "},
		{"an unknown family", bindable("'${atoll:secret.x}'"), "is not ${atoll:cluster.NAME} or ${atoll:var.NAME}"},
		{"an open end", bindable("'${atoll:var.x'"), "is not ${atoll:cluster.NAME}"},
		{"a name bound late", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: 'a-${atoll:var.x}'}", "cannot be bound late"},
		{"values that blow up", bindable("'" + strings.Repeat("${atoll:var.big}", 100) + "'"), "larger than one MiB"},
	}
	bindings := map[string]string{"var.x": "x", "var.big": strings.Repeat("y", 64<<10)}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := parse(t, tt.text).Bundle.Resolve(bindings, nil)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %.300v\nwant one with %q", err, tt.want)
			}
		})
	}
}

func TestLateBoundListsTheNamesUsed(t *testing.T) {
	b := parse(t, bindable("'${atoll:var.b} ${atoll:cluster.a} ${atoll:var.b} $${atoll:var.c}'")).Bundle
	got, err := b.LateBound()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"cluster.a", "var.b"}, got); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	if _, err := parse(t, bindable("'${atoll:x}'")).Bundle.LateBound(); err == nil {
		t.Error("a reference that can never be bound was accepted")
	}
}

func TestBindingLeavesTheBundleAlone(t *testing.T) {
	b := parse(t, bindable("'${atoll:var.x}'")).Bundle
	before := b.Digest()
	for _, x := range []string{"one", "two"} {
		objects, err := b.Resolve(map[string]string{"var.x": x}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := objects[0].Object["data"].(map[string]any)["${atoll:cluster.region}"]; got != x {
			t.Errorf("bound %v, want %s", got, x)
		}
	}
	if b.Digest() != before {
		t.Error("binding changed the bundle")
	}
	if !content.IsBindingName("cluster.label.topology.kubernetes.io/zone") || content.IsBindingName("var.") {
		t.Error("binding names are judged wrongly")
	}
}
