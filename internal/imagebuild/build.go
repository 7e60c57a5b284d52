package imagebuild

import (
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Build is a program's image for all its platforms.
type Build struct {
	Spec      Spec
	Index     v1.ImageIndex
	Platforms []Platform
}

// Platform is the image for one platform, with its bill of materials.
type Platform struct {
	Platform v1.Platform
	Image    v1.Image
	// Materials is the CycloneDX document, as JSON.
	Materials []byte
	// Attachment is Materials as an OCI artifact whose subject is Image.
	Attachment v1.Image
}

// New makes an image of a program that was built once for each platform.
func New(s Spec, paths ...string) (*Build, error) {
	b := &Build{Spec: s}
	adds := make([]mutate.IndexAddendum, 0, len(paths))
	for _, path := range paths {
		p, err := s.platform(path)
		if err != nil {
			return nil, fmt.Errorf("build image %s: %w", s.Name, err)
		}
		b.Platforms = append(b.Platforms, p)
		adds = append(adds, mutate.IndexAddendum{Add: p.Image, Descriptor: v1.Descriptor{Platform: &p.Platform}})
	}
	index := mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.OCIImageIndex), adds...)
	b.Index = mutate.Annotations(index, s.annotations()).(v1.ImageIndex)
	return b, nil
}

func (s Spec) platform(path string) (Platform, error) {
	p, err := open(path)
	if err != nil {
		return Platform{}, err
	}
	out := Platform{Platform: p.platform}
	if out.Image, err = s.image(p); err != nil {
		return Platform{}, err
	}
	if out.Materials, err = s.materials(p); err != nil {
		return Platform{}, err
	}
	subject, err := partial.Descriptor(out.Image)
	if err != nil {
		return Platform{}, fmt.Errorf("describe the image of %s: %w", path, err)
	}
	if out.Attachment, err = attach(out.Materials, MaterialsType, *subject); err != nil {
		return Platform{}, fmt.Errorf("attach the bill of materials of %s: %w", path, err)
	}
	return out, nil
}

// Digest is what the whole build is known by: the digest of its index.
func (b *Build) Digest() (v1.Hash, error) { return b.Index.Digest() }

// Size is the bytes that a machine of the platform fetches.
func (p Platform) Size() (int64, error) {
	m, err := p.Image.Manifest()
	if err != nil {
		return 0, err
	}
	size := m.Config.Size
	for _, l := range m.Layers {
		size += l.Size
	}
	return size, nil
}
