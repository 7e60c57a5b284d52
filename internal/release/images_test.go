package release_test

import (
	"bytes"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"atoll.dev/atoll/internal/release"
)

// checkout copies what the agent is built from to another folder.
func checkout(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, file := range []string{"go.mod", "go.sum"} {
		data, err := os.ReadFile(filepath.Join("../..", file))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, file), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, folder := range []string{"api", "cmd/atoll-agent", "internal"} {
		if err := os.CopyFS(filepath.Join(dir, folder), os.DirFS(filepath.Join("../..", folder))); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func agent(t *testing.T, source, push string) string {
	t.Helper()
	var out bytes.Buffer
	o := release.Images{
		Source: source, Out: t.TempDir(), Version: "1.2.3", Ldflags: "-s -w -X atoll.dev/atoll/internal/version.Version=1.2.3",
		Names: []string{"atoll-agent"}, Platforms: []string{"linux/amd64"}, Push: push, Archive: true,
	}
	if err := o.Build(t.Context(), &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"atoll-agent/index.json", "atoll-agent.tar", "atoll-agent.linux-amd64.cdx.json"} {
		if info, err := os.Stat(filepath.Join(o.Out, file)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", file, err)
		}
	}
	return out.String()
}

// What is printed is what a registry has, whoever built it wherever.
func TestTheAgentIsTheSameReleaseFromAnyCheckout(t *testing.T) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	repository := strings.TrimPrefix(server.URL, "http://") + "/atoll"

	here, there := agent(t, "../..", repository), agent(t, checkout(t), "")
	if here != there {
		t.Errorf("built here:\n%s\nbuilt from a copy:\n%s", here, there)
	}
	ref, err := name.ParseReference(repository + "/atoll-agent:1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	index, err := remote.Index(ref)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(index); err != nil {
		t.Error(err)
	}
	digest, err := index.Digest()
	if err != nil || !strings.Contains(here, digest.String()) {
		t.Errorf("the registry has %s, %v; printed was:\n%s", digest, err, here)
	}
}

func TestWhatIsAskedWronglyIsRefusedBeforeAnythingIsBuilt(t *testing.T) {
	for word, o := range map[string]release.Images{
		`no image "hub"`:     {Names: []string{"hub"}, Platforms: []string{"linux/amd64"}},
		"at least one":       {Names: []string{"atoll"}},
		"linux/ARCHITECTURE": {Names: []string{"atoll"}, Platforms: []string{"windows/amd64"}},
	} {
		o.Out, o.Source = t.TempDir(), t.TempDir()
		if err := o.Build(t.Context(), io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("the error %v does not say %q", err, word)
		}
	}
}
