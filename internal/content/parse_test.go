package content_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"atoll.dev/atoll/internal/content"
)

// testRef stands in for the hub's keyed hash.
func testRef(namespace, name, key string, value []byte) string {
	h := hmac.New(sha256.New, []byte("a key for tests"))
	fmt.Fprintf(h, "%d %s %d %s %d %s ", len(namespace), namespace, len(name), name, len(key), key)
	h.Write(value)
	return "hmac-sha256:" + hex.EncodeToString(h.Sum(nil))
}

func parse(t *testing.T, text string) content.Parsed {
	t.Helper()
	p, err := content.Parse([]content.File{{Name: "all.yaml", Data: []byte(text)}}, content.Options{Ref: testRef})
	if err != nil {
		t.Fatalf("parse: %v", err)
	}
	return p
}

func names(b content.Bundle) []string {
	var out []string
	for _, o := range b.Objects {
		out = append(out, o.Ref.String())
	}
	return out
}

func configMap(name string) string {
	return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + name + "}\n"
}

func TestParseReadsEveryFormOfManifest(t *testing.T) {
	tests := []struct {
		name, text string
		want       []string
	}{
		{"nothing at all", "", nil},
		{"comments only are skipped", "# a\n---\n# b\n---\n\n---\n", nil},
		{"several documents", configMap("a") + "---\n" + configMap("b"), []string{"ConfigMap/a", "ConfigMap/b"}},
		{"what follows an end marker is not lost", configMap("a") + "...\n" + configMap("b"), []string{"ConfigMap/a", "ConfigMap/b"}},
		{"directives before the first marker", "%YAML 1.1\n---\n" + configMap("a"), []string{"ConfigMap/a"}},
		{"a comment behind the marker", "--- # first\n" + configMap("a"), []string{"ConfigMap/a"}},
		{"Windows line ends", strings.ReplaceAll("---\n"+configMap("a")+"---\n"+configMap("b"), "\n", "\r\n"), []string{"ConfigMap/a", "ConfigMap/b"}},
		{"a byte order mark", "\xef\xbb\xbf" + configMap("a"), []string{"ConfigMap/a"}},
		{"JSON values one after the other", `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"}} {"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"b"}}`, []string{"ConfigMap/a", "ConfigMap/b"}},
		{"YAML that starts like JSON", "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}", []string{"ConfigMap/a"}},
		{"a marker inside a block scalar is text", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  x: |\n    ---\n    text\n", []string{"ConfigMap/a"}},
		{"a list is unwrapped", "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: a}}\n- apiVersion: v1\n  kind: List\n  items:\n  - {apiVersion: v1, kind: ConfigMap, metadata: {name: b}}\n", []string{"ConfigMap/a", "ConfigMap/b"}},
		{"items of a typed list take its type", "apiVersion: apps/v1\nkind: DeploymentList\nitems:\n- metadata: {name: a}\n", []string{"Deployment.apps/a"}},
		{"a named kind that ends in List is an object", "apiVersion: example.com/v1\nkind: AllowList\nmetadata: {name: a}\nitems: [x]\n", []string{"AllowList.example.com/a"}},
		{"aliases are expanded", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: &n a}\ndata: {x: *n}\n", []string{"ConfigMap/a"}},
		{
			"namespaces and definitions come first",
			configMap("a") + "---\napiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: xs.example.com}\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: z}\n",
			[]string{"Namespace/z", "CustomResourceDefinition.apiextensions.k8s.io/xs.example.com", "ConfigMap/a"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, names(parse(t, tt.text).Bundle)); diff != "" {
				t.Errorf("objects (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseRefusesWithASentence(t *testing.T) {
	object := func(s string) string { return "apiVersion: v1\nkind: ConfigMap\n" + s }
	tests := []struct{ name, text, want string }{
		{"no apiVersion", "kind: ConfigMap\nmetadata: {name: a}", `all.yaml, document 1 (line 1), ConfigMap/a: apiVersion is missing: add one, such as "apps/v1"`},
		{"no kind", "apiVersion: v1\nmetadata: {name: a}", "kind is missing"},
		{"no metadata", "apiVersion: v1\nkind: ConfigMap", "metadata is missing"},
		{"no name", object("metadata: {}"), "ConfigMap/(no name): metadata.name is missing"},
		{"a generated name", object("metadata: {generateName: a-}"), "metadata.generateName makes a new object each time"},
		{"a name that is no string", object("metadata: {name: 5}"), "metadata.name must be a string"},
		{"a name that leads out of its path", object("metadata: {name: ../a}"), `metadata.name "../a"`},
		{"a namespace that is none", object("metadata: {name: a, namespace: 'A B'}"), "metadata.namespace"},
		{"a namespace bound late", object("metadata: {name: a, namespace: '${atoll:var.ns}'}"), "metadata.namespace"},
		{"a kind bound late", "apiVersion: v1\nkind: ${atoll:var.kind}\nmetadata: {name: a}", "kind"},
		{"a label that is no string", object("metadata: {name: a, labels: {on: 1, x: true}}"), "metadata.labels[x] must be a string: quote the value"},
		{"an owner of another cluster", object("metadata: {name: a, ownerReferences: [{uid: x}]}"), "ownerReferences"},
		{"an order that cannot be read", object("metadata: {name: a, annotations: {argocd.argoproj.io/sync-wave: first}}"), `all.yaml, document 1 (line 1), ConfigMap/a: metadata.annotations: argocd.argoproj.io/sync-wave: "first" is no whole number`},
		{"a key twice", object("metadata: {name: a}\ndata:\n  x: '1'\n  x: '2'"), `line 6: key "x" already set in map`},
		{"a key twice in JSON", `{"apiVersion":"v1","apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"}}`, `duplicate field "apiVersion"`},
		{"broken YAML names the line of the file", configMap("a") + "---\na: b: c\n", "all.yaml, document 2 (line 4): line 5: mapping values are not allowed"},
		{"broken JSON", `{"apiVersion":`, "all.yaml, document 1 (line 1)"},
		{"a scalar", "hello", "is not a Kubernetes object"},
		{"a bare list", "- a", "is a bare list"},
		{"an object twice, in two versions", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\n---\napiVersion: apps/v1beta1\nkind: Deployment\nmetadata: {name: a}\n", "all.yaml, document 2 (line 4), Deployment/a: stands twice; it is also in all.yaml, document 1 (line 1)"},
		{"lists in lists without end", strings.Repeat("{kind: List, items: [", 9) + strings.Repeat("]}", 9), "more than 4 deep"},
		{"items that are no list", "apiVersion: v1\nkind: List\nitems: 5", "items must be a list"},
		{"an alias to itself", "a: &a [*a]", "contains an alias to itself"},
		{"an object over one MiB", object("metadata: {name: big}\ndata: {x: " + strings.Repeat("y", 3<<20) + "}"), "ConfigMap/big: has 3145"},
		{"a document over the limit", object("metadata: {name: big}\n#" + strings.Repeat("y", content.MaxDocument)), "split it into several"},
		{"a value that is not base64", "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {p: '%%%'}", "Secret/s: data[p] is not base64"},
		{"a Secret with a foreign field", "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nDATA: {p: eA==}", "DATA is not a field of a Secret"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := content.Parse([]content.File{{Name: "all.yaml", Data: []byte(tt.text)}}, content.Options{Ref: testRef})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %.400v\nwant one with %q", err, tt.want)
			}
		})
	}
}

func TestParseCollectsEveryProblem(t *testing.T) {
	files := []content.File{
		{Name: "a.yaml", Data: []byte("kind: X\nmetadata: {name: x}\n---\na: b: c\n")},
		{Name: "b.yaml", Data: []byte(configMap("a") + "---\n" + configMap("a"))},
	}
	_, err := content.Parse(files, content.Options{})
	parseErr, ok := err.(*content.Error)
	if !ok {
		t.Fatalf("got %T %v, want *content.Error", err, err)
	}
	var places []string
	for _, p := range parseErr.Problems {
		places = append(places, fmt.Sprintf("%s %d %d %s", p.File, p.Document, p.Line, p.Object))
	}
	want := []string{"a.yaml 1 1 X/x", "a.yaml 2 3 ", "b.yaml 2 4 ConfigMap/a"}
	if diff := cmp.Diff(want, places); diff != "" {
		t.Errorf("places (-want +got):\n%s", diff)
	}
}

func TestParseRefusesMoreThanItsLimits(t *testing.T) {
	many := make([]byte, 0, 2<<20)
	for i := range content.MaxObjects + 5 {
		many = fmt.Appendf(many, "---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: c%d}}\n", i)
	}
	bomb := "a0: &a0 [" + strings.Repeat("x,", 100) + "x]\n"
	for i := 1; i < 12; i++ {
		bomb += fmt.Sprintf("a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i-1), 20), ","))
	}
	wide := "big: &big " + strings.Repeat("y", 1<<20) + "\nall: [" + strings.TrimSuffix(strings.Repeat("*big,", 500), ",") + "]\n"
	for name, text := range map[string]string{
		"is one more than the 20000 objects": string(many),
		"the aliases (*name) expand to more": bomb,
		"expand to more than 67108864 bytes": wide,
	} {
		_, err := content.Parse([]content.File{{Name: "f", Data: []byte(text)}}, content.Options{})
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("got %.300v, want one with %q", err, name)
		}
	}
	huge := make([]byte, content.MaxTotal/2+1)
	if _, err := content.Parse([]content.File{{Data: huge}, {Data: huge}}, content.Options{}); err == nil {
		t.Error("64 MiB and two bytes were read")
	}
}

func TestParseLeavesOutWhatTheServerOwns(t *testing.T) {
	p := parse(t, `
apiVersion: v1
kind: Service
metadata:
  name: web
  uid: u
  resourceVersion: "5"
  generation: 3
  creationTimestamp: null
  managedFields: []
  finalizers: [example.com/keep]
spec: {type: LoadBalancer}
status: {loadBalancer: {}}
`)
	want := `{"apiVersion":"v1","kind":"Service","metadata":{"finalizers":["example.com/keep"],"name":"web"},"spec":{"type":"LoadBalancer"}}`
	if diff := cmp.Diff(want, string(p.Bundle.Objects[0].Manifest)); diff != "" {
		t.Errorf("manifest (-want +got):\n%s", diff)
	}
	if len(p.Warnings) != 1 || !strings.Contains(p.Warnings[0].String(), "left out status, metadata.generation") {
		t.Errorf("warnings %v", p.Warnings)
	}
	p = parse(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, annotations: {argocd.argoproj.io/hook: PostDelete}}\n")
	if want := "all.yaml, document 1 (line 1), ConfigMap/a: is a PostDelete hook, and nothing runs when an application is deleted: not delivered"; len(p.Warnings) != 1 || p.Warnings[0].String() != want {
		t.Errorf("warnings %v", p.Warnings)
	}
}

func TestANamespacelessDuplicateIsFoundWhenTheNamespaceIsKnown(t *testing.T) {
	text := configMap("a") + "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: shop}\n"
	files := []content.File{{Name: "f", Data: []byte(text)}}
	if _, err := content.Parse(files, content.Options{}); err != nil {
		t.Errorf("without a namespace: %v", err)
	}
	if _, err := content.Parse(files, content.Options{Namespace: "shop"}); err == nil {
		t.Error("one object twice in shop was accepted")
	}
}

func TestAPublicApplicationIsDeliveredWhole(t *testing.T) {
	data, err := os.ReadFile("../../../shared/fixtures/online-boutique/all.yaml")
	if err != nil {
		t.Skip("the fixtures are not beside this checkout")
	}
	p, err := content.Parse([]content.File{{Name: "all.yaml", Data: data}}, content.Options{Ref: testRef})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := len(p.Bundle.Objects), strings.Count("\n"+string(data), "\nkind: "); got != want {
		t.Errorf("%d objects, the file has %d", got, want)
	}
}
