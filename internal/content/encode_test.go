package content_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"atoll.dev/atoll/internal/content"
)

func TestDecodeRefusesWhatParseWouldNotHaveMade(t *testing.T) {
	const head = "atoll-content/1\n"
	line := func(manifest string) string { return `{"manifest":` + manifest + "}\n" }
	ok := `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"}}`
	tests := []struct{ name, text, want string }{
		{"an unknown format", "atoll-content/2\n", "newer hub"},
		{"a lost end", head + `{"manifest":` + ok, "the end is missing"},
		{"an object twice", head + line(ok) + line(ok), "out of order or stands twice"},
		{"wrong order", head + line(ok) + line(`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"a"}}`), "out of order"},
		{"values in clear", head + line(`{"apiVersion":"v1","data":{"p":"eA=="},"kind":"Secret","metadata":{"name":"a"}}`), "holds values in clear"},
		{"values of something else", head + `{"manifest":` + ok + `,"values":{"a":"b"}}` + "\n", "is no Secret"},
		{"a forged reference", head + `{"manifest":{"apiVersion":"v1","kind":"Secret","metadata":{"name":"a"}},"values":{"a":"b"}}` + "\n", "malformed"},
		{"objects wrapped in a list", head + line(`{"apiVersion":"v1","items":[],"kind":"List","metadata":{"name":"a"}}`), "wraps other objects"},
		{"a foreign namespace by trick", head + line(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","namespace":"../x"}}`), "metadata.namespace"},
		{"fields of the server", head + line(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","uid":"x"}}`), "canonical"},
		{"another encoding of the same", head + line(`{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a"}}`), "canonical"},
		{"no object", head + line(`5`), "not a Kubernetes object"},
		{"no JSON", head + "x\n", "object 1"},
		{"too large an object", head + line(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"x":"`+strings.Repeat("y", content.MaxObject)+`"}`), "are more than"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := content.Decode([]byte(tt.text))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %.300v\nwant one with %q", err, tt.want)
			}
		})
	}
}

// manifests draws distinct objects as YAML documents.
func manifests(t *rapid.T) []string {
	text := rapid.StringMatching(`[ -~é]{0,12}`)
	ids := rapid.SliceOfNDistinct(rapid.IntRange(0, 40), 0, 12, rapid.ID[int]).Draw(t, "ids")
	docs := make([]string, 0, len(ids))
	for _, id := range ids {
		m := map[string]any{
			"apiVersion": rapid.SampledFrom([]string{"v1", "apps/v1", "apiextensions.k8s.io/v1"}).Draw(t, "apiVersion"),
			"kind":       rapid.SampledFrom([]string{"Namespace", "CustomResourceDefinition", "Secret", "Thing"}).Draw(t, "kind"),
			"metadata":   map[string]any{"name": fmt.Sprint("n", id)},
		}
		if m["kind"] == "Secret" && m["apiVersion"] == "v1" {
			m["stringData"] = map[string]string{"k": text.Draw(t, "secret")}
		} else {
			m["spec"] = map[string]any{"s": text.Draw(t, "s"), "n": rapid.Int64().Draw(t, "n"), "f": rapid.Float64Range(-1e9, 1e9).Draw(t, "f")}
		}
		data, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		docs = append(docs, string(data))
	}
	return docs
}

func TestTheDigestDependsOnTheObjectsAlone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		docs := manifests(t)
		one := []content.File{{Name: "one", Data: []byte(strings.Join(docs, "\n---\n"))}}
		var many []content.File
		for i, d := range rapid.Permutation(docs).Draw(t, "order") {
			many = append(many, content.File{Name: fmt.Sprint(i, ".yaml"), Data: []byte("# comment\n---\n" + d + "\n")})
		}
		a, errA := content.Parse(one, content.Options{Ref: testRef})
		b, errB := content.Parse(many, content.Options{Ref: testRef})
		if errA != nil || errB != nil {
			t.Fatalf("parse: %v, %v", errA, errB)
		}
		if a.Bundle.Digest() != b.Bundle.Digest() {
			t.Fatalf("digests differ:\n%s\n%s", a.Bundle.Encode(), b.Bundle.Encode())
		}
		decoded, err := content.Decode(a.Bundle.Encode())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(names(a.Bundle), names(decoded)); diff != "" || decoded.Digest() != a.Bundle.Digest() {
			t.Fatalf("decoded differently: %s", diff)
		}
		if diff := cmp.Diff(len(decoded.Refs()), len(a.Values)); diff != "" {
			t.Fatalf("references and values: %s", diff)
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		configMap("a"), "---\n...\n", `{"kind":"List","items":[{"kind":"List"}]}`, secretText(),
		"a: &a [*a]", "x: &x {<<: *x}", "apiVersion: v1\nkind: ConfigMapList\nitems:\n- metadata: {name: ${atoll:var.x}}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := content.Parse([]content.File{{Name: "f", Data: data}}, content.Options{Ref: testRef})
		if err != nil {
			return
		}
		encoded := p.Bundle.Encode()
		again, err := content.Decode(encoded)
		if err != nil {
			t.Fatalf("decode what was encoded: %v\n%s", err, encoded)
		}
		if !bytes.Equal(encoded, again.Encode()) {
			t.Fatal("the encoding is not stable")
		}
		_, _ = again.LateBound()
		_, _ = again.Resolve(map[string]string{"var.x": "y"}, func(string) ([]byte, error) { return nil, nil })
	})
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte("atoll-content/1\n"))
	f.Add([]byte("atoll-content/1\n{\"manifest\":{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"name\":\"a\"}},\"values\":{\"k\":\"" + testRef("", "a", "k", nil) + "\"}}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := content.Decode(data)
		if err != nil {
			return
		}
		if _, err := b.Resolve(map[string]string{}, func(string) ([]byte, error) { return nil, nil }); err == nil && len(b.Objects) == 0 && len(data) > 16 {
			t.Fatalf("objects were lost from %q", data)
		}
	})
}
