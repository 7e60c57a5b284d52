package imagebuild

import (
	"archive/tar"
	"fmt"
	"io"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// User is the unprivileged user and group of minimal images.
const User = "65532:65532"

// Spec is what an image says about itself.
type Spec struct {
	// Name is the program's, which lies at /NAME and is the entrypoint.
	Name        string
	Version     string
	Description string
	Licenses    string
}

// annotations are the same on the manifest, where registries show them, and as
// labels in the configuration, where runtimes do.
func (s Spec) annotations() map[string]string {
	out := map[string]string{}
	for key, value := range map[string]string{"title": s.Name, "version": s.Version, "description": s.Description, "licenses": s.Licenses} {
		if value != "" {
			out["org.opencontainers.image."+key] = value
		}
	}
	return out
}

// image is one program on nothing.
func (s Spec) image(p program) (v1.Image, error) {
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return s.archive(p), nil },
		tarball.WithMediaType(types.OCILayer), tarball.WithCompressedCaching)
	if err != nil {
		return nil, fmt.Errorf("pack %s: %w", p.path, err)
	}
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	img, err := mutate.ConfigFile(base, s.config(p.platform))
	if err != nil {
		return nil, fmt.Errorf("configure the image of %s: %w", p.path, err)
	}
	img, err = mutate.Append(img, mutate.Addendum{Layer: layer, MediaType: types.OCILayer, History: v1.History{CreatedBy: "COPY /" + s.Name}})
	if err != nil {
		return nil, fmt.Errorf("add the layer of %s: %w", p.path, err)
	}
	return mutate.Annotations(img, s.annotations()).(v1.Image), nil
}

func (s Spec) config(p v1.Platform) *v1.ConfigFile {
	return &v1.ConfigFile{
		OS: p.OS, Architecture: p.Architecture, Variant: p.Variant,
		Config: v1.Config{
			Entrypoint: []string{"/" + s.Name},
			Env:        []string{"PATH=/", "HOME=/tmp"},
			User:       User,
			WorkingDir: "/",
			Labels:     s.annotations(),
		},
		RootFS: v1.RootFS{Type: "layers"},
	}
}

// archive is the layer: a file of root's that everyone may run and nobody
// change, dated as the epoch.
func (s Spec) archive(p program) io.ReadCloser {
	r, w := io.Pipe()
	go func() { w.CloseWithError(s.pack(w, p)) }()
	return r
}

func (s Spec) pack(w io.Writer, p program) error {
	f, err := os.Open(p.path)
	if err != nil {
		return err
	}
	defer f.Close()
	out := tar.NewWriter(w)
	// A place for temporary files, over which a read-only root mounts one.
	if err := out.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777, Format: tar.FormatUSTAR}); err != nil {
		return err
	}
	if err := out.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: s.Name, Mode: 0o555, Size: p.size, Format: tar.FormatUSTAR}); err != nil {
		return err
	}
	if _, err := io.Copy(out, f); err != nil {
		return err
	}
	return out.Close()
}
