package kustomize_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"atoll.dev/atoll/internal/render/kustomize"
	"atoll.dev/atoll/internal/render/tree"
)

func files(pairs ...string) fs.FS {
	out := fstest.MapFS{}
	for i := 0; i < len(pairs); i += 2 {
		out[pairs[i]] = &fstest.MapFile{Data: []byte(pairs[i+1])}
	}
	return out
}

const deployment = `apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  template:
    spec:
      containers: [{name: web, image: "shop/web:1"}]
`

func build(t *testing.T, tree fs.FS, folder string, o kustomize.Options) (string, kustomize.Result) {
	t.Helper()
	r, err := kustomize.Build(tree, folder, o)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, f := range r.Files {
		text.Write(f.Data)
	}
	return text.String(), r
}

func TestAnOverlayOfABaseElsewhereInTheTree(t *testing.T) {
	source := files("base/kustomization.yaml", "resources: [web.yaml]\nconfigMapGenerator: [{name: motd, files: [motd]}]\n", "base/web.yaml", deployment, "base/motd", "hello",
		"prod/kustomization.yml", "resources: [../base]\nnamespace: store\npatches: [{path: more.yaml}]\n",
		"prod/more.yaml", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {replicas: 3}\n")
	got, r := build(t, source, "prod", kustomize.Options{})
	for _, want := range []string{"namespace: store", "replicas: 3", "motd: hello", "name: motd-"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
	if r.Files[0].Name != "prod/kustomization" {
		t.Errorf("the file is called %s", r.Files[0].Name)
	}
}

func TestOptionsAreLaidOverEvenAtTheRoot(t *testing.T) {
	source := files("kustomization.yaml", "resources: [web.yaml]\n", "web.yaml", deployment)
	got, _ := build(t, source, ".", kustomize.Options{
		Images:     []kustomize.Image{{Name: "shop/web", NewName: "mirror/web", NewTag: "2"}},
		NamePrefix: "a-", NameSuffix: "-z",
	})
	for _, want := range []string{"image: mirror/web:2", "name: a-web-z"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
}

func TestWhatIsNotInTheTreeIsRefusedByName(t *testing.T) {
	tests := []struct{ name, kustomization, want string }{
		{"a remote base", "resources: ['https://127.0.0.1:1/org/repo?ref=v1']", `k/kustomization.yaml: resources: "https://127.0.0.1:1/org/repo?ref=v1" lies outside of the source`},
		{"github", "bases: [github.com/org/repo//base]", `"github.com/org/repo//base" lies outside`},
		{"ssh", "components: ['git@127.0.0.1:org/repo']", "lies outside"},
		{"a repository on disk", "resources: ['file:///etc?ref=x']", "lies outside"},
		{"a remote patch", "patches: [{path: 'http://127.0.0.1:1/p.yaml'}]", "lies outside"},
		{"a remote file", "configMapGenerator: [{name: a, files: ['k=http://127.0.0.1:1/p.yaml']}]", "lies outside"},
		{"a remote transformer", "transformers: ['http://127.0.0.1:1/p.yaml']", "lies outside"},
		{"a remote schema", "openapi: {path: 'http://127.0.0.1:1/p.yaml'}", "lies outside"},
		{"a chart", "helmCharts: [{name: web, repo: 'https://charts.example'}]", "helmCharts runs the helm program"},
		{"a file above", "configMapGenerator: [{name: a, files: [../../../etc/passwd]}]", "'/etc/passwd' doesn't exist"},
		{"a file beside", "resources: [../secret.yaml]", "is not in or below"},
		{"an absolute file", "configMapGenerator: [{name: a, files: [/etc/passwd]}]", "'/etc/passwd' doesn't exist"},
		{"what is missing", "resources: [nope.yaml]", "nope.yaml"},
		{"itself", "resources: [.]", "cycle"},
		{"a plugin", "generators: [plugin.yaml]", "external plugins disabled"},
		{"no kustomization", "resources: {a: b}", "k"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			source := files("k/kustomization.yaml", tt.kustomization+"\n", "secret.yaml", deployment,
				"k/plugin.yaml", "apiVersion: example.com/v1\nkind: Runs\nmetadata:\n  name: x\n  annotations:\n    config.kubernetes.io/function: |\n      exec: {path: /bin/true}\n")
			_, err := kustomize.Build(source, "k", kustomize.Options{})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v\nwant one with %q", err, tt.want)
			}
		})
	}
}

// A link in a repository may point at anything on the hub's disk.
func TestLinksOutOfTheTreeAreRefused(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "secret.yaml")
	if err := os.WriteFile(outside, []byte(deployment), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte("resources: [web.yaml]"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, "web.yaml")); err != nil {
		t.Fatal(err)
	}
	source, end, err := tree.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	if _, err := kustomize.Build(source, ".", kustomize.Options{}); err == nil || !strings.Contains(err.Error(), "leads out of the source") {
		t.Errorf("got %v", err)
	}
}

func TestInputsAreWhatWasRead(t *testing.T) {
	source := func(extra ...string) fs.FS {
		return files(append([]string{"base/kustomization.yaml", "resources: [web.yaml]", "base/web.yaml", deployment, "prod/kustomization.yaml", "resources: [../base]"}, extra...)...)
	}
	text, first := build(t, source(), "prod", kustomize.Options{})
	again, second := build(t, source("README.md", "x", "prod/unused.yaml", "y: z"), "prod", kustomize.Options{})
	if first.Inputs != second.Inputs || text != again {
		t.Error("a file that is not read counts as input")
	}
	if diff := cmp.Diff(text, again); diff != "" {
		t.Error(diff)
	}
	_, changed := build(t, source("base/web.yaml", deployment+"---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"), "prod", kustomize.Options{})
	_, tagged := build(t, source(), "prod", kustomize.Options{Images: []kustomize.Image{{Name: "shop/web", NewTag: "2"}}})
	if changed.Inputs == first.Inputs || tagged.Inputs == first.Inputs {
		t.Error("a changed base, or another option, has the same inputs")
	}
}

func TestASchemaCountsForItsOwnKustomizationOnly(t *testing.T) {
	theirs := files("kustomization.yaml", "resources: [web.yaml]\npatches: [{path: more.yaml}]\n", "web.yaml", deployment,
		"more.yaml", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {template: {spec: {containers: [{name: log, image: \"shop/log:1\"}]}}}\n")
	before, _ := build(t, theirs, ".", kustomize.Options{})
	if !strings.Contains(before, "shop/web:1") || !strings.Contains(before, "shop/log:1") {
		t.Fatalf("a patch replaced the list of containers:\n%s", before)
	}
	// Under this one a list of containers is replaced as a whole.
	const schema = `{"definitions": {"deployment": {"type": "object", "x-kubernetes-group-version-kind": [{"group": "apps", "kind": "Deployment", "version": "v1"}], "properties": {}}}}`
	for name, hostile := range map[string]fs.FS{
		"of the root": files("kustomization.yaml", "resources: [web.yaml]\nopenapi: {path: schema.json}\n", "web.yaml", deployment, "schema.json", schema),
		"of a base": files("kustomization.yaml", "resources: [base]\n",
			"base/kustomization.yaml", "resources: [web.yaml]\nopenapi: {path: schema.json}\n", "base/web.yaml", deployment, "base/schema.json", schema),
	} {
		t.Run(name, func(t *testing.T) {
			build(t, hostile, ".", kustomize.Options{})
			if after, _ := build(t, theirs, ".", kustomize.Options{}); after != before {
				t.Errorf("after somebody else's build it is\n%s\nand was\n%s", after, before)
			}
		})
	}
}
