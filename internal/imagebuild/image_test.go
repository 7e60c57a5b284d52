package imagebuild_test

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"atoll.dev/atoll/internal/imagebuild"
)

var spec = imagebuild.Spec{Name: "hello", Version: "1.2.3", Description: "says hello", Licenses: "Apache-2.0"}

const source = `package main

func main() { println("hello from nothing") }
`

// compile builds the source in a folder of its own, as a release does.
func compile(t *testing.T, env ...string) string {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "go.mod"), "module example.org/hello\n\ngo 1.26\n")
	write(t, filepath.Join(dir, "main.go"), source)
	return build(t, dir, ".", filepath.Join(dir, "hello"), env...)
}

func build(t *testing.T, dir, pkg, out string, env ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", out, pkg)
	cmd.Dir = dir
	cmd.Env = append(append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux"), env...)
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", pkg, err, output)
	}
	return out
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func image(t *testing.T, paths ...string) *imagebuild.Build {
	t.Helper()
	b, err := imagebuild.New(spec, paths...)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func digest(t *testing.T, of interface{ Digest() (v1.Hash, error) }) string {
	t.Helper()
	h, err := of.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return h.String()
}

// A release that two people build is one release only if its digests agree.
func TestTheSameSourceGivesTheSameDigestsElsewhereAndLater(t *testing.T) {
	first, second := compile(t), compile(t)
	if err := os.Chtimes(second, time.Unix(1e9, 0), time.Unix(1e9, 0)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(second, 0o700); err != nil {
		t.Fatal(err)
	}
	a, b := image(t, first), image(t, second)
	if x, y := digest(t, a), digest(t, b); x != y {
		t.Errorf("the images are %s and %s", x, y)
	}
	if x, y := digest(t, a.Platforms[0].Attachment), digest(t, b.Platforms[0].Attachment); x != y {
		t.Errorf("the bills of materials are %s and %s", x, y)
	}
	files := [2][]byte{}
	for i, build := range []*imagebuild.Build{a, b} {
		path := filepath.Join(t.TempDir(), "image.tar")
		if err := build.WriteTar(path, "hello:1.2.3"); err != nil {
			t.Fatal(err)
		}
		files[i], _ = os.ReadFile(path)
	}
	if string(files[0]) != string(files[1]) {
		t.Error("the archives differ")
	}
}

func TestAnImageIsOneProgramThatRunsAsNobody(t *testing.T) {
	b := image(t, compile(t))
	img := b.Platforms[0].Image
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if config.Config.User != "65532:65532" || config.Config.Entrypoint[0] != "/hello" || !config.Created.IsZero() {
		t.Errorf("the image runs %q as %q, made at %s", config.Config.Entrypoint, config.Config.User, config.Created)
	}
	if got := config.Config.Labels["org.opencontainers.image.version"]; got != "1.2.3" {
		t.Errorf("its label says version %q", got)
	}
	layers, err := img.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("%d layers, %v", len(layers), err)
	}
	content, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	out := unpack(t, content)
	got, err := exec.CommandContext(t.Context(), filepath.Join(out, "hello")).CombinedOutput()
	if err != nil || strings.TrimSpace(string(got)) != "hello from nothing" {
		t.Errorf("the program of the layer says %q, %v", got, err)
	}
}

// unpack writes a layer's files to a folder and insists on how they are.
func unpack(t *testing.T, r io.Reader) string {
	t.Helper()
	dir, names := t.TempDir(), []string{}
	for in := tar.NewReader(r); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Uid != 0 || h.Uname != "" || h.ModTime.Unix() != 0 {
			t.Errorf("%s belongs to %d %q and is of %s", h.Name, h.Uid, h.Uname, h.ModTime)
		}
		names = append(names, h.Name)
		if h.Typeflag == tar.TypeReg {
			data, err := io.ReadAll(in)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, h.Name), data, os.FileMode(h.Mode)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if diff := cmp.Diff([]string{"tmp/", "hello"}, names); diff != "" {
		t.Errorf("the layer's files (-want +got):\n%s", diff)
	}
	return dir
}

func TestOneIndexServesEveryPlatform(t *testing.T) {
	b := image(t, compile(t, "GOARCH=amd64"), compile(t, "GOARCH=arm64"))
	dir := filepath.Join(t.TempDir(), "hello")
	if err := b.WriteLayout(dir); err != nil {
		t.Fatal(err)
	}
	path, err := layout.FromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	root, err := path.ImageIndex()
	if err != nil {
		t.Fatal(err)
	}
	top, err := root.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if len(top.Manifests) != 3 || top.Manifests[0].Digest.String() != digest(t, b) {
		t.Fatalf("the layout lists %+v, not the index and two bills of materials", top.Manifests)
	}
	written, err := root.ImageIndex(top.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(written); err != nil {
		t.Error(err)
	}
	platforms := []string{}
	manifest, err := b.Index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range manifest.Manifests {
		platforms = append(platforms, m.Platform.String())
		attached := top.Manifests[i+1]
		if attached.ArtifactType != imagebuild.MaterialsType {
			t.Errorf("the attachment of %s is of type %q", m.Platform, attached.ArtifactType)
		}
		img, err := root.Image(attached.Digest)
		if err != nil {
			t.Fatal(err)
		}
		if about, err := img.Manifest(); err != nil || about.Subject.Digest != m.Digest {
			t.Errorf("the bill of materials of %s is about %+v, %v", m.Platform, about.Subject, err)
		}
	}
	if diff := cmp.Diff([]string{"linux/amd64", "linux/arm64/v8"}, platforms); diff != "" {
		t.Errorf("platforms (-want +got):\n%s", diff)
	}
}

func TestAProgramThatCouldNotRunThereIsRefused(t *testing.T) {
	refused := map[string]string{
		compile(t, "GOOS=darwin", "GOARCH=arm64"): "GOOS=linux",
		"image_test.go": "build information",
	}
	if _, err := exec.LookPath("gcc"); err == nil {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "go.mod"), "module example.org/hello\n\ngo 1.26\n")
		write(t, filepath.Join(dir, "main.go"), "package main\n\nimport \"C\"\n\nfunc main() {}\n")
		refused[build(t, dir, ".", filepath.Join(dir, "hello"), "CGO_ENABLED=1")] = "CGO_ENABLED=0"
	}
	for path, word := range refused {
		if _, err := imagebuild.New(spec, path); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: the error %v does not say %q", path, err, word)
		}
	}
}

func TestTheBillOfMaterialsNamesEveryModuleOfTheProgram(t *testing.T) {
	if testing.Short() {
		t.Skip("links the agent")
	}
	path := build(t, "../..", "./cmd/atoll-agent", filepath.Join(t.TempDir(), "atoll-agent"))
	s := spec
	s.Name = "atoll-agent"
	b, err := imagebuild.New(s, path)
	if err != nil {
		t.Fatal(err)
	}
	bom := cdx.BOM{}
	if err := json.Unmarshal(b.Platforms[0].Materials, &bom); err != nil {
		t.Fatal(err)
	}
	if bom.Metadata.Component.Version != "1.2.3" || bom.Metadata.Component.PackageURL != "pkg:golang/atoll.dev/atoll@1.2.3#cmd/atoll-agent" {
		t.Errorf("the document is about %+v", bom.Metadata.Component)
	}
	versions := map[string]string{}
	for _, c := range *bom.Components {
		versions[c.Name] = c.Version
		if c.Name != "stdlib" && c.Hashes == nil {
			t.Errorf("%s has no checksum", c.Name)
		}
	}
	listed, err := exec.CommandContext(t.Context(), "go", "version", "-m", path).Output()
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for line := range strings.Lines(string(listed)) {
		if f := strings.Fields(line); len(f) >= 3 && f[0] == "dep" {
			count++
			if versions[f[1]] != f[2] {
				t.Errorf("%s %s is in the program, the document says %q", f[1], f[2], versions[f[1]])
			}
		}
	}
	if count < 10 || len(versions) != count+1 || versions["stdlib"] == "" {
		t.Errorf("%d components for %d modules and the toolchain %q", len(versions), count, versions["stdlib"])
	}
}
