package imagebuild_test

import (
	"io"
	"log"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"atoll.dev/atoll/internal/imagebuild"
)

func serve(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(registry.New(registry.WithReferrersSupport(true), registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

func TestARegistryHasTheImageByItsDigestAndListsItsBillOfMaterials(t *testing.T) {
	b := image(t, compile(t, "GOARCH=amd64"), compile(t, "GOARCH=arm64"))
	ref, err := b.Push(t.Context(), serve(t)+"/atoll/hello")
	if err != nil {
		t.Fatal(err)
	}
	if ref.DigestStr() != digest(t, b) {
		t.Errorf("it was pushed as %s and is %s", ref.DigestStr(), digest(t, b))
	}
	for _, by := range []name.Reference{ref, ref.Context().Tag("1.2.3")} {
		index, err := remote.Index(by)
		if err != nil {
			t.Fatal(err)
		}
		if err := validate.Index(index); err != nil || digest(t, index) != ref.DigestStr() {
			t.Errorf("%s gives %s, %v", by, digest(t, index), err)
		}
	}
	for _, p := range b.Platforms {
		referrers, err := remote.Referrers(ref.Context().Digest(digest(t, p.Image)))
		if err != nil {
			t.Fatal(err)
		}
		list, err := referrers.IndexManifest()
		if err != nil {
			t.Fatal(err)
		}
		if len(list.Manifests) != 1 {
			t.Fatalf("the referrers of %s are %+v", p.Platform, list.Manifests)
		}
		img, err := remote.Image(ref.Context().Digest(list.Manifests[0].Digest.String()))
		if err != nil {
			t.Fatal(err)
		}
		manifest, err := img.Manifest()
		if err != nil {
			t.Fatal(err)
		}
		if manifest.ArtifactType != imagebuild.MaterialsType {
			t.Errorf("the referrer of %s is of type %q", p.Platform, manifest.ArtifactType)
		}
		layers, err := img.Layers()
		if err != nil {
			t.Fatal(err)
		}
		content, err := layers[0].Compressed()
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(content)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(p.Materials), string(got)); diff != "" {
			t.Errorf("the bill of materials of %s (-built +pulled):\n%s", p.Platform, diff)
		}
	}
}
