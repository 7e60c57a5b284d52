package helm_test

import (
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"atoll.dev/atoll/internal/content"
	"atoll.dev/atoll/internal/render/class"
	"atoll.dev/atoll/internal/render/helm"
)

var kube = class.Capabilities{KubeVersion: "v1.33.4", APIVersions: []string{"v1", "apps/v1", "apps/v1/Deployment", "policy/v1"}}

// tree lays out files given as pairs of name and text.
func tree(pairs ...string) fs.FS {
	files := fstest.MapFS{}
	for i := 0; i < len(pairs); i += 2 {
		files[pairs[i]] = &fstest.MapFile{Data: []byte(pairs[i+1])}
	}
	return files
}

const chartYAML = "apiVersion: v2\nname: web\nversion: 1.2.3\nappVersion: \"7\"\n"

// chart is a chart in web/ whose one template gives a ConfigMap with these data.
func chart(data string, more ...string) fs.FS {
	template := "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}\ndata:\n" + data
	return tree(append([]string{"web/Chart.yaml", chartYAML, "web/templates/config.yaml", template}, more...)...)
}

func render(t *testing.T, files fs.FS, change ...func(*helm.Options)) (helm.Result, error) {
	t.Helper()
	o := helm.Options{Release: "shop", Namespace: "store"}
	for _, c := range change {
		c(&o)
	}
	return helm.Render(files, "web", kube, o)
}

func values(v string) func(*helm.Options) {
	return func(o *helm.Options) { o.Values = []byte(v) }
}

func valuesFiles(names ...string) func(*helm.Options) {
	return func(o *helm.Options) { o.ValuesFiles = names }
}

func text(r helm.Result) string {
	var b strings.Builder
	for _, f := range r.Files {
		fmt.Fprintf(&b, "# %s\n%s", f.Name, f.Data)
	}
	return b.String()
}

func TestAChartRendersAsHelmDoes(t *testing.T) {
	r, err := render(t, chart(`  from: {{ .Release.Namespace }} {{ .Chart.AppVersion }} {{ .Release.Service }}
  file: {{ .Files.Get "motd" | quote }}
  looked: {{ lookup "v1" "Secret" "a" "b" | toJson | quote }}
  host: {{ getHostByName "localhost" | quote }}
`, "web/motd", "hello", "web/templates/NOTES.txt", "thanks, {{ now }}", "web/templates/_lib.tpl", `{{ define "x" }}{{ end }}`,
		"web/templates/empty.yaml", "{{ if false }}x{{ end }}\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := "# web/templates/config.yaml\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: shop\ndata:\n" +
		"  from: store 7 Helm\n  file: \"hello\"\n  looked: \"{}\"\n  host: \"\"\n\n"
	if diff := cmp.Diff(want, text(r)); diff != "" {
		t.Errorf("manifests (-want +got):\n%s", diff)
	}
	if r.Name != "web" || r.Version != "1.2.3" || r.AppVersion != "7" {
		t.Errorf("the chart is called %s %s %s", r.Name, r.Version, r.AppVersion)
	}
	if len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "lookup") {
		t.Errorf("warnings %q tell nothing of lookup", r.Warnings)
	}
}

func TestLaterValuesWin(t *testing.T) {
	files := chart("  v: {{ .Values.a }}{{ .Values.b }}{{ .Values.c }}{{ .Values.d }}\n",
		"web/values.yaml", "{a: 1, b: 1, c: 1, d: 1}", "web/prod.yaml", "{b: 2, c: 2, d: 2}", "env/eu.yaml", "{c: 3, d: 3}")
	r, err := render(t, files, valuesFiles("prod.yaml", "../env/eu.yaml"), values("d: 4"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text(r), "v: 1234\n") {
		t.Errorf("got %s", text(r))
	}
}

func TestDefinitionsComeFirstAndDependenciesAreUsed(t *testing.T) {
	files := tree("web/Chart.yaml", chartYAML+"dependencies: [{name: db, version: 1.x, condition: db.enabled}]\n",
		"web/templates/a.yaml", "a: 1\n", "web/crds/b.yaml", "b: 1\n", "web/values.yaml", "db: {enabled: true, size: 5}",
		"web/charts/db/Chart.yaml", "apiVersion: v2\nname: db\nversion: 1.0.1\n", "web/charts/db/templates/c.yaml", "c: {{ .Values.size }}\n")
	r, err := render(t, files)
	if err != nil {
		t.Fatal(err)
	}
	want := "# web/crds/b.yaml\nb: 1\n# web/charts/db/templates/c.yaml\nc: 5\n\n# web/templates/a.yaml\na: 1\n\n"
	if diff := cmp.Diff(want, text(r)); diff != "" {
		t.Errorf("manifests (-want +got):\n%s", diff)
	}
	r, err = render(t, files, values("db: {enabled: false}"), func(o *helm.Options) { o.SkipCRDs = true })
	if err != nil || len(r.Files) != 1 {
		t.Errorf("a dependency that is off, or definitions to be skipped, rendered: %v %s", err, text(r))
	}
}

func TestHooksAreDeliveredButForWhatHasNoPlaceInADelivery(t *testing.T) {
	hook := func(name, events string) string {
		return "---\napiVersion: batch/v1\nkind: Job\nmetadata:\n  name: " + name + "\n  annotations: {helm.sh/hook: \"" + events + "\"}\n"
	}
	files := func(events string) fs.FS {
		return chart("  a: b\n", "web/templates/hooks.yaml", hook("check", "test")+hook("job", events)+"---\nkept: true\n")
	}
	_, err := render(t, files("pre-install, post-upgrade"))
	if err == nil || !strings.Contains(err.Error(), "Job/job (pre-install, post-upgrade, in web/templates/hooks.yaml): helm.sh/hook: PreSync and PostSync") {
		t.Errorf("a hook of two phases gave %v", err)
	}
	r, err := render(t, files("pre-install,pre-upgrade"))
	if err != nil {
		t.Fatal(err)
	}
	if got := text(r); !strings.Contains(got, "name: job") || strings.Contains(got, "name: check") || len(r.Hooks) != 1 {
		t.Errorf("delivered, without %+v:\n%s", r.Hooks, got)
	}
	if want := "Job/check (test, in web/templates/hooks.yaml) is a test: not delivered"; len(r.Warnings) != 1 || r.Warnings[0] != want {
		t.Errorf("warnings %q", r.Warnings)
	}
	if r, err = render(t, files("pre-delete")); err != nil || len(r.Hooks) != 2 || strings.Contains(text(r), "kind: Job") {
		t.Errorf("a hook of a deletion gave %+v, %v", r.Hooks, err)
	}
	r, err = render(t, files("pre-install"), func(o *helm.Options) { o.SkipHooks = true })
	if err != nil {
		t.Fatal(err)
	}
	if got := text(r); strings.Contains(got, "kind: Job") || !strings.Contains(got, "kept: true") {
		t.Errorf("delivered:\n%s", got)
	}
	if len(r.Warnings) != 2 || len(r.Hooks) != 2 {
		t.Errorf("hooks %+v with warnings %q", r.Hooks, r.Warnings)
	}
}

func TestTestsAreDeliveredWhereTheyAreAskedFor(t *testing.T) {
	test := func(name, events string) string {
		return "---\napiVersion: batch/v1\nkind: Job\nmetadata:\n  name: " + name + "\n  annotations: {helm.sh/hook: \"" + events + "\", helm.sh/hook-weight: \"3\"}\nspec: {activeDeadlineSeconds: 1000000}\n"
	}
	files := chart("  a: b\n", "web/templates/tests/all.yaml", test("one", "test")+test("two", "test-success")+test("never", "test-failure")+test("bye", "pre-delete"))
	asked := func(o *helm.Options) { o.Tests = true }
	r, err := render(t, files, asked)
	if err != nil {
		t.Fatal(err)
	}
	got := text(r)
	if strings.Count(got, "atoll.dev/phase: Verify") != 2 || strings.Count(got, "activeDeadlineSeconds: 1000000\n") != 2 || strings.Contains(got, "name: never") || len(r.Hooks) != 2 {
		t.Errorf("delivered, without %+v:\n%s", r.Hooks, got)
	}
	parsed, err := content.Parse(r.Files[1:], content.Options{})
	if err != nil || len(parsed.Bundle.Objects) != 2 {
		t.Fatalf("%d objects: %v", len(parsed.Bundle.Objects), err)
	}
	plain, err := render(t, files)
	if err != nil || len(plain.Hooks) != 4 || plain.Inputs == r.Inputs {
		t.Errorf("without a word, left out %+v, by the same inputs %v: %v", plain.Hooks, plain.Inputs == r.Inputs, err)
	}
	if r, err = render(t, files, asked, func(o *helm.Options) { o.SkipHooks = true }); err != nil || len(r.Hooks) != 4 {
		t.Errorf("without hooks, left out %+v: %v", r.Hooks, err)
	}
}

func TestWhatCannotBeRenderedIsSaidWithItsPlace(t *testing.T) {
	link := fstest.MapFS{"web/Chart.yaml": {Data: []byte(chartYAML)}}
	tests := []struct {
		name  string
		files fs.FS
		with  func(*helm.Options)
		want  string
	}{
		{"no chart", tree("web/values.yaml", ""), nil, "Chart.yaml file is missing"},
		{"nothing at all", tree("other/x", ""), nil, "web does not exist in the source"},
		{"a missing dependency", tree("web/Chart.yaml", chartYAML+"dependencies: [{name: db, version: 1.x, repository: 'https://c.example'}]\n"), nil, "`helm dependency build`"},
		{"a library", tree("web/Chart.yaml", chartYAML+"type: library\n"), nil, "is a library"},
		{"another Kubernetes", tree("web/Chart.yaml", chartYAML+"kubeVersion: '>=1.40'\n"), nil, "needs Kubernetes >=1.40, and the cluster has v1.33.4"},
		{"a template that fails", chart("  a: {{ fail \"no password\" }}\n"), nil, "web/templates/config.yaml:6:8): no password"},
		{"a required value", chart("  a: {{ required \"give a\" .Values.a }}\n"), nil, "give a"},
		{"no template language", chart("  a: {{ nope }}\n"), nil, "web/templates/config.yaml:6"},
		{"a cycle", chart("  a: {{ include \"x\" . }}\n", "web/templates/_x.tpl", `{{ define "x" }}{{ include "x" . }}{{ end }}`), nil, "nested reference name: x"},
		{"no environment", chart("  a: {{ env \"HOME\" }}\n"), nil, `function "env" not defined`},
		{"values out of the tree", chart(""), valuesFiles("../../etc/passwd"), "leads out of the source"},
		{"absolute values", chart(""), valuesFiles("/etc/passwd"), "leads out of the source"},
		{"values that are not there", chart(""), valuesFiles("prod.yaml"), "web/prod.yaml does not exist"},
		{"values that are no map", chart(""), values("- 1"), "is not a map in YAML"},
		{"a schema that is not met", chart("", "web/values.schema.json", `{"required":["host"]}`), nil, "missing property 'host'"},
		{"a schema from afar", chart("", "web/values.schema.json", `{"properties":{"a":{"$ref":"http://127.0.0.1:1/x.json"}}}`), nil, "leads out of the file"},
		{"a schema from the disk", chart("", "web/values.schema.json", `{"allOf":[{"$ref":"file:///etc/passwd"}]}`), nil, "leads out of the file"},
		{"a metaschema from afar", chart("", "web/values.schema.json", `{"$schema":"http://127.0.0.1:1/x.json"}`), nil, "leads out of the file"},
		{"a metaschema that its host would have", chart("", "web/values.schema.json", `{"$schema":"http://json-schema.org/other"}`), nil, "leads out of the file"},
		{"a bad name", link, func(o *helm.Options) { o.Release = "No_Name" }, `release name "No_Name"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.with == nil {
				tt.with = func(*helm.Options) {}
			}
			_, err := render(t, tt.files, tt.with)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v\nwant one with %q", err, tt.want)
			}
		})
	}
}

func TestTooLargeObjectsOfAChartAreNamed(t *testing.T) {
	big := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: big}\ndata: {x: " + strings.Repeat("x", 5<<20) + "}\n"
	r, err := render(t, chart("  a: b\n", "web/crds/big.yaml", big))
	if err != nil {
		t.Fatal(err)
	}
	_, err = content.Parse(r.Files, content.Options{})
	if err == nil || !strings.Contains(err.Error(), "web/crds/big.yaml, document 1 (line 1), ConfigMap/big: has 5242") {
		t.Errorf("got %.200v", err)
	}
}
