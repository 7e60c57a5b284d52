package render_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"atoll.dev/atoll/internal/render"
	"atoll.dev/atoll/internal/render/helm"
	"atoll.dev/atoll/internal/render/tree"
)

func files(pairs ...string) fs.FS {
	out := fstest.MapFS{}
	for i := 0; i < len(pairs); i += 2 {
		out[pairs[i]] = &fstest.MapFile{Data: []byte(pairs[i+1])}
	}
	return out
}

func names(o render.Output) string {
	var all []string
	for _, f := range o.Files {
		all = append(all, f.Name)
	}
	return strings.Join(all, " ")
}

const object = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"

var release = helm.Options{Release: "shop"}

func TestAFolderIsWhatLiesInIt(t *testing.T) {
	source := files(
		"plain/b.yaml", object, "plain/a.json", "{}", "plain/sub/c.YML", object, "plain/README.md", "# no manifest", "plain/.hidden/x.yaml", "no", "plain/.y.yaml", "no",
		"kust/kustomization.yaml", "resources: [a.yaml]", "kust/a.yaml", object,
		"both/Chart.yaml", "apiVersion: v2\nname: web\nversion: 1.0.0", "both/templates/a.yaml", object, "both/kustomization.yaml", "resources: []",
		"mixed/a.yaml", object, "mixed/db/Chart.yaml", "name: x")
	tests := []struct {
		in   render.Inputs
		want render.Type
		file string
	}{
		{render.Inputs{Path: "plain"}, render.Plain, "plain/a.json plain/b.yaml plain/sub/c.YML"},
		{render.Inputs{Path: "./kust/"}, render.Kustomize, "kust/kustomization"},
		{render.Inputs{Path: "both", Helm: release}, render.Helm, "web/templates/a.yaml"},
		{render.Inputs{Path: "kust", Type: render.Plain}, render.Plain, "kust/a.yaml"},
		{render.Inputs{Path: "mixed", Type: render.Plain}, render.Plain, "mixed/a.yaml"},
	}
	for _, tt := range tests {
		t.Run(tt.in.Path+" "+string(tt.in.Type), func(t *testing.T) {
			out, err := render.Render(source, tt.in)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{string(tt.want), tt.file}, []string{string(out.Type), names(out)}); diff != "" {
				t.Errorf("type and files (-want +got):\n%s", diff)
			}
			again, err := render.Render(source, tt.in)
			if err != nil || again.Class() != out.Class() || cmp.Diff(out, again) != "" {
				t.Errorf("the second render differs (%v)", err)
			}
		})
	}
}

func TestWhatAFolderCannotBe(t *testing.T) {
	source := files("a/x.yaml", object, "a/db/Chart.yaml", "name: x", "file", "x")
	tests := []struct {
		in   render.Inputs
		want string
	}{
		{render.Inputs{Path: "a"}, "a/db/Chart.yaml further down is not: make a/db an application of its own"},
		{render.Inputs{Path: "../a"}, "leads out of the repository"},
		{render.Inputs{Path: "/a"}, "leads out of the repository"},
		{render.Inputs{Path: "b"}, "b does not exist in the source"},
		{render.Inputs{Path: "file"}, "file is a file"},
		{render.Inputs{Path: "a", Type: "Jsonnet"}, "no such type; give Helm, Kustomize or Plain"},
	}
	for _, tt := range tests {
		if _, err := render.Render(source, tt.in); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v gave %v\nwant %q", tt.in, err, tt.want)
		}
	}
}

// The hub's own files lie on the same disk as what it fetched.
func TestLinksLeadNowhereElse(t *testing.T) {
	outside, dir := t.TempDir(), t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	link := func(to, name string) {
		t.Helper()
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(outside, "secret.yaml"), object)
	write(filepath.Join(dir, "real", "a.yaml"), object)
	for _, folder := range []string{"inside", "out", "folder", "circle"} {
		write(filepath.Join(dir, folder, "b.yaml"), object)
	}
	link("../real/a.yaml", "inside/a.yaml")
	link("../real", "inside/sub")
	link(filepath.Join(outside, "secret.yaml"), "out/c.yaml")
	link(outside, "folder/c")
	link(".", "circle/c")

	source, end, err := tree.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	out, err := render.Render(source, render.Inputs{Path: "inside"})
	if err != nil || names(out) != "inside/a.yaml inside/b.yaml inside/sub/a.yaml" {
		t.Errorf("links within the tree gave %q, %v", names(out), err)
	}
	for folder, want := range map[string]string{"out": "out/c.yaml is a link that leads out", "folder": "folder/c is a link that leads out", "circle": "in a circle"} {
		if _, err := render.Render(source, render.Inputs{Path: folder}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s gave %v", folder, err)
		}
	}
}

func TestLimitsOfWhatIsRead(t *testing.T) {
	many := fstest.MapFS{}
	for n := range tree.MaxFiles + 1 {
		many["a/"+strings.Repeat("x", n%100)+string(rune('a'+n%26))+"/"+strings.Repeat("y", n/100+1)+".yaml"] = &fstest.MapFile{}
	}
	if _, err := render.Render(many, render.Inputs{Path: "a"}); err == nil || !strings.Contains(err.Error(), "more than 10000 files") {
		t.Errorf("many files gave %v", err)
	}
	large := files("a/x.yaml", strings.Repeat("x", tree.MaxBytes/2+1), "a/y.yaml", strings.Repeat("x", tree.MaxBytes/2+1))
	if _, err := render.Render(large, render.Inputs{Path: "a"}); err == nil || !strings.Contains(err.Error(), "counted up to a/y.yaml") {
		t.Errorf("large files gave %v", err)
	}
}

// Whatever a folder holds, it is told what it is or why not, and the outcome of
// detection is one that renders or is refused in words.
func FuzzDetect(f *testing.F) {
	f.Add("Chart.yaml", "apiVersion: v2\nname: a\nversion: 1.0.0", "templates/x.yaml", object)
	f.Add("kustomization.yaml", "resources: [x.yaml]", "x.yaml", object)
	f.Add("kustomization.yaml", "resources: ['http://127.0.0.1:1/x']", "Chart.yaml", "")
	f.Add("a.yaml", object, "b/Kustomization", "")
	f.Fuzz(func(t *testing.T, nameA, textA, nameB, textB string) {
		if !fs.ValidPath(nameA) || !fs.ValidPath(nameB) || len(textA)+len(textB) > 4<<10 || strings.ContainsAny(textA+textB, "{&*") {
			t.Skip() // endless templates are for the worker
		}
		source := files(nameA, textA, nameB, textB)
		kind, err := render.Detect(source, ".")
		if err != nil {
			return
		}
		out, err := render.Render(source, render.Inputs{Helm: release})
		if err == nil && out.Type != kind {
			t.Errorf("detected as %s and rendered as %s", kind, out.Type)
		}
	})
}
