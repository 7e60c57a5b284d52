package importer

import (
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/validate"
)

var update = flag.Bool("update", false, "write the golden files")

const repository = "https://git.example.com/team/fleet.git"

func options(tree fs.FS) Options {
	placement := &v1alpha1.ApplicationPlacement{}
	placement.Clusters = "stage=production"
	return Options{Owner: "platform", InCluster: "home", Project: "shop", Placement: placement, Repositories: map[string]fs.FS{repository: tree}}
}

// golden runs a file of inputs and holds what becomes of them to what stands
// beside them.
func golden(t *testing.T, path string, convert func(Objects, Options) *Result) {
	archive, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var files []File
	want, tree := map[string]string{}, fstest.MapFS{}
	kept := archive.Files[:0:0]
	for _, f := range archive.Files {
		name, inTree := strings.CutPrefix(f.Name, "repo/")
		switch {
		case inTree:
			tree[name] = &fstest.MapFile{Data: f.Data}
		case strings.HasPrefix(f.Name, "want"):
			want[f.Name] = string(f.Data)
			continue
		default:
			files = append(files, File{Name: f.Name, Data: f.Data})
		}
		kept = append(kept, f)
	}
	objects, err := Read(files)
	if err != nil {
		t.Fatal(err)
	}
	got := outcome(t, convert(objects, options(tree)))
	if *update {
		for _, name := range []string{"want.yaml", "want.lost"} {
			kept = append(kept, txtar.File{Name: name, Data: []byte(got[name])})
		}
		archive.Files = kept
		if err := os.WriteFile(path, txtar.Format(archive), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("accept it with -update:\n%s", diff)
	}
}

func outcome(t *testing.T, r *Result) map[string]string {
	t.Helper()
	data, err := r.YAML()
	if err != nil {
		t.Fatal(err)
	}
	b := strings.Builder{}
	for _, l := range r.Lost {
		kind := "lost"
		if l.Harmless {
			kind = "note"
		}
		fmt.Fprintf(&b, "%s %s\n", kind, l)
	}
	for _, o := range r.Objects {
		if err := admitted(o); err != nil {
			t.Errorf("the hub would refuse %s: %v", title(o), err)
		}
	}
	return map[string]string{"want.yaml": string(data), "want.lost": b.String()}
}

// admitted is what the hub's types and rules say to an object.
func admitted(o *unstructured.Unstructured) error {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return err
	}
	typed, err := scheme.New(o.GroupVersionKind())
	if err != nil {
		return err
	}
	data, err := yaml.Marshal(o.Object)
	if err != nil {
		return err
	}
	if err := yaml.UnmarshalStrict(data, typed); err != nil {
		return err
	}
	return validate.Object(o.GroupVersionKind(), o, nil)
}

func each(t *testing.T, pattern string, run func(t *testing.T, path string)) {
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		t.Fatalf("no files are %s: %v", pattern, err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), filepath.Ext(path)), func(t *testing.T) { run(t, path) })
	}
}

func TestArgoCD(t *testing.T) {
	each(t, "testdata/argocd/*.txtar", func(t *testing.T, path string) { golden(t, path, ArgoCD) })
}

func TestFlux(t *testing.T) {
	each(t, "testdata/flux/*.txtar", func(t *testing.T, path string) { golden(t, path, Flux) })
}

// fixtures are public examples beside the checkout.
const fixtures = "../../../shared/fixtures"

// folder reads all YAML files below one.
func folder(t *testing.T, root string) []File {
	t.Helper()
	var files []File
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".yaml" {
			return err
		}
		data, err := os.ReadFile(path)
		files = append(files, File{Name: path, Data: data})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func fixture(t *testing.T, name string, files []File, o Options, convert func(Objects, Options) *Result) {
	t.Run(name, func(t *testing.T) {
		objects, err := Read(files)
		if err != nil {
			t.Fatal(err)
		}
		got := outcome(t, convert(objects, o))
		path := filepath.Join("testdata", "fixtures", name+".golden")
		text := got["want.yaml"] + "--- lost\n" + got["want.lost"]
		if *update {
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			return
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), text); diff != "" {
			t.Errorf("accept it with -update:\n%s", diff)
		}
	})
}

func TestPublicExamplesOfOthers(t *testing.T) {
	if _, err := os.Stat(fixtures); err != nil {
		t.Skip("the fixtures are not beside this checkout")
	}
	argo := filepath.Join(fixtures, "argocd")
	o := options(nil)
	o.Repositories = map[string]fs.FS{"https://github.com/argoproj/argo-cd": examples{os.DirFS(argo)}}
	for _, name := range []string{"cluster/cluster-example", "cluster/cluster-example-fasttemplate", "list-generator/list-example",
		"list-generator/list-example-fasttemplate", "git-generator-directory/git-directories-example", "matrix/cluster-and-git"} {
		data, err := os.ReadFile(filepath.Join(argo, name+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		files := []File{{Name: name, Data: data}}
		fixture(t, filepath.Base(name), files, o, ArgoCD)
		if strings.HasPrefix(name, "matrix") || strings.HasPrefix(name, "cluster") {
			fixture(t, filepath.Base(name)+"-with-clusters", append(files, File{Name: "clusters", Data: []byte(twoClusters)}), o, ArgoCD)
		}
	}
	flux := filepath.Join(fixtures, "flux")
	fixture(t, "flux", append(folder(t, filepath.Join(flux, "infrastructure")), folder(t, filepath.Join(flux, "apps", "base"))...), options(nil), Flux)
	fixture(t, "flux-clusters", folder(t, filepath.Join(flux, "clusters", "production")), options(nil), Flux)
}

// examples puts the fixtures where their repository has them.
type examples struct{ fs.FS }

func (e examples) Open(name string) (fs.File, error) {
	if name == "." {
		return fstest.MapFS{"applicationset/examples/x": nil}.Open(name)
	}
	switch rest, ok := strings.CutPrefix(name, "applicationset/examples"); {
	case ok && rest == "":
		return e.FS.Open(".")
	case ok:
		return e.FS.Open(rest[1:])
	}
	return fstest.MapFS{"applicationset/examples/x": nil}.Open(name)
}

const twoClusters = `apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Secret, metadata: {name: a, namespace: argocd, labels: {argocd.argoproj.io/secret-type: cluster, environment: staging}}, stringData: {name: eu-1, server: "https://eu-1.example.com", config: hunter2}}
- {apiVersion: v1, kind: Secret, metadata: {name: b, namespace: argocd, labels: {argocd.argoproj.io/secret-type: cluster, environment: staging}}, stringData: {name: us-1, server: "https://us-1.example.com", config: hunter2}}
`

func TestNothingSecretOfAClusterIsPrinted(t *testing.T) {
	objects, err := Read([]File{{Name: "clusters", Data: []byte(twoClusters)}})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range outcome(t, ArgoCD(objects, options(nil))) {
		if strings.Contains(text, "hunter2") {
			t.Errorf("%s holds a credential:\n%s", name, text)
		}
	}
}

func TestGeneratorsThatMultiplyEndWithASentence(t *testing.T) {
	many := strings.Repeat("{a: b},", 150)
	text := "apiVersion: argoproj.io/v1alpha1\nkind: ApplicationSet\nmetadata: {name: big, namespace: argocd}\nspec:\n  generators:\n  - matrix:\n      generators:\n" +
		"      - list: {elements: [" + many + "]}\n      - list: {elements: [" + many + "]}\n  template: {}\n"
	objects, err := Read([]File{{Name: "big", Data: []byte(text)}})
	if err != nil {
		t.Fatal(err)
	}
	if r := ArgoCD(objects, options(nil)); len(r.Lost) == 0 || !strings.Contains(r.Lost[0].Why, "more than 10000 applications") {
		t.Errorf("%v", r.Lost)
	}
	lang := templating{golang: true}
	for _, endless := range []string{
		`{{define "a"}}{{template "a"}}{{end}}{{template "a"}}`, `{{repeat 1000000000 "a"}}`, `{{until 1000000000}}`,
		`{{range until 1000}}{{range until 1000}}{{repeat 1000 "a"}}{{end}}{{end}}`,
	} {
		if _, err := lang.execute(endless, nil); err == nil {
			t.Errorf("%s came to an end", endless)
		}
	}
}

func TestPathsOfOthersAreAtollsPaths(t *testing.T) {
	for pointer, want := range map[string]string{
		"/spec/replicas": "spec.replicas", "/metadata/annotations/example.com~1x": "metadata.annotations[example.com/x]",
		"/spec/template/spec/containers/0/image": "spec.template.spec.containers[0].image",
	} {
		if got := ofPointer(pointer); got != want {
			t.Errorf("%s became %s", pointer, got)
		}
	}
	for expression, want := range map[string]string{
		".spec.replicas": "spec.replicas", `.metadata.annotations["example.com/x"]`: "metadata.annotations[example.com/x]",
		".webhooks[].clientConfig.caBundle":                                  "webhooks[*].clientConfig.caBundle",
		`.spec.template.spec.containers[] | select(.name == "web") | .image`: "spec.template.spec.containers[name=web].image",
		`.spec | keys`: "",
		`.spec.template.spec.containers[0].resources`:                                     "spec.template.spec.containers[0].resources",
		`.spec.template.spec.initContainers[] | select(.name == "a" or .name=="b").image`: "",
	} {
		if got, _ := ofJQ(expression); got != want && want != "" || want == "" && got != "" {
			t.Errorf("%s became %q", expression, got)
		}
	}
}

func TestPatternsOfFoldersMatchPartByPart(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"apps/*", "apps/web", true}, {"apps/*", "apps/web/deep", false}, {"apps/**", "apps/web/deep", true},
		{"**/config.json", "a/b/config.json", true}, {"**/config.json", "config.json", true}, {"*", "apps", true}, {"apps/w?b", "apps/web", true},
		{strings.Repeat("**/a/", 30) + "b", strings.Repeat("a/", 200) + "c", false},
	} {
		if got := glob(strings.Split(c.pattern, "/"), strings.Split(c.name, "/")); got != c.want {
			t.Errorf("%s matches %s: %v", c.pattern, c.name, got)
		}
	}
}

func TestAChartsParametersAreHelms(t *testing.T) {
	values := map[string]any{"web": map[string]any{"image": "a"}}
	for _, p := range []struct {
		name, value string
		force       bool
	}{{"web.replicas", "3", false}, {"web.tag", "3", true}, {"on", "true", false}, {`ann.example\.com/x`, "y", false}, {"id", "007", false}} {
		if err := setParameter(values, p.name, p.value, p.force); err != nil {
			t.Error(err)
		}
	}
	want := map[string]any{"web": map[string]any{"image": "a", "replicas": int64(3), "tag": "3"}, "on": true, "ann": map[string]any{"example.com/x": "y"}, "id": "007"}
	if diff := cmp.Diff(want, values); diff != "" {
		t.Error(diff)
	}
	if setParameter(values, "list[0]", "x", false) == nil {
		t.Error("an index was taken for a name")
	}
}

func fuzz(f *testing.F, folder string, convert func(Objects, Options) *Result) {
	paths, _ := filepath.Glob(folder)
	for _, path := range paths {
		archive, err := txtar.ParseFile(path)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range archive.Files {
			f.Add(file.Data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		objects, err := Read([]File{{Name: "fuzz", Data: data}})
		if err != nil {
			return
		}
		first, err := convert(objects, options(fstest.MapFS{"apps/web/a.yaml": {}})).YAML()
		if err != nil {
			t.Fatal(err)
		}
		second, _ := convert(objects, options(fstest.MapFS{"apps/web/a.yaml": {}})).YAML()
		if string(first) != string(second) {
			t.Error("it is another the second time")
		}
	})
}

func FuzzArgoCD(f *testing.F) { fuzz(f, "testdata/argocd/*.txtar", ArgoCD) }

func FuzzFlux(f *testing.F) { fuzz(f, "testdata/flux/*.txtar", Flux) }
