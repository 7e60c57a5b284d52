package oci

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	orascontent "oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote"

	"atoll.dev/atoll/internal/blob"
	"atoll.dev/atoll/internal/desired"
)

const (
	contentType = "application/vnd.atoll.content.v1"
	layerType   = "application/vnd.atoll.content.v1+zstd"
	hubType     = "application/vnd.atoll.hub.v1"

	// hubTag marks, in the repository above the projects', whose content it is.
	hubTag          = "atoll-hub"
	ownerAnnotation = "dev.atoll.owner"

	tagPrefix = "sha256-"

	maxManifest = 64 << 10
)

func tagOf(d desired.Digest) (string, error) {
	hex, err := blob.Hex(d)
	return tagPrefix + hex, err
}

// digestOf is the content that a tag names, or "" for a tag of something else.
func digestOf(tag string) desired.Digest {
	hex, ok := strings.CutPrefix(tag, tagPrefix)
	d := desired.Digest("sha256:" + hex)
	if _, err := blob.Hex(d); !ok || err != nil {
		return ""
	}
	return d
}

// found is what lies under a tag.
type found struct {
	descriptor ocispec.Descriptor
	manifest   ocispec.Manifest
}

// layer is where the content itself is.
func (f found) layer() (ocispec.Descriptor, error) {
	if f.manifest.ArtifactType != contentType || len(f.manifest.Layers) != 1 || f.manifest.Layers[0].MediaType != layerType {
		return ocispec.Descriptor{}, fmt.Errorf("%w: the manifest %s is not one of content", blob.ErrCorrupt, f.descriptor.Digest)
	}
	return f.manifest.Layers[0], nil
}

// put is when the manifest was last written. One that does not say is as old as
// can be.
func (f found) put() time.Time {
	t, _ := time.Parse(time.RFC3339, f.manifest.Annotations[ocispec.AnnotationCreated])
	return t
}

// find reads what lies under a tag; blob.ErrMissing when nothing does.
func find(ctx context.Context, repo *remote.Repository, tag string) (f found, err error) {
	descriptor, body, err := repo.FetchReference(ctx, tag)
	if errors.Is(err, errdef.ErrNotFound) {
		return found{}, blob.ErrMissing
	}
	if err != nil {
		return found{}, err
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	data, err := readAll(body, descriptor, maxManifest)
	if err != nil {
		return found{}, err
	}
	f.descriptor = descriptor
	if err := json.Unmarshal(data, &f.manifest); err != nil {
		return found{}, fmt.Errorf("%w: the manifest under the tag %s: %w", blob.ErrCorrupt, tag, err)
	}
	return f, nil
}

// readAll checks what comes against its descriptor. A shorter body may be a
// connection that broke, which is not damage.
func readAll(body io.Reader, descriptor ocispec.Descriptor, limit int64) ([]byte, error) {
	if descriptor.Size > limit {
		return nil, fmt.Errorf("%w: %d bytes are more than %d", blob.ErrCorrupt, descriptor.Size, limit)
	}
	data, err := orascontent.ReadAll(body, descriptor)
	if errors.Is(err, orascontent.ErrMismatchedDigest) || errors.Is(err, orascontent.ErrTrailingData) {
		return nil, fmt.Errorf("%w: %w", blob.ErrCorrupt, err)
	}
	return data, err
}

// write puts a manifest under a tag.
func write(ctx context.Context, repo *remote.Repository, tag string, m ocispec.Manifest) error {
	m.Versioned, m.MediaType = specs.Versioned{SchemaVersion: 2}, ocispec.MediaTypeImageManifest
	m.Config = ocispec.DescriptorEmptyJSON
	if m.Layers == nil {
		m.Layers = []ocispec.Descriptor{ocispec.DescriptorEmptyJSON} // some registries refuse none
	}
	if err := ensureBlob(ctx, repo, m.Config, ocispec.DescriptorEmptyJSON.Data); err != nil {
		return err
	}
	data, err := json.Marshal(m)
	if err != nil {
		return err
	}
	descriptor := orascontent.NewDescriptorFromBytes(m.MediaType, data)
	return repo.PushReference(ctx, descriptor, bytes.NewReader(data), tag)
}

func ensureBlob(ctx context.Context, repo *remote.Repository, descriptor ocispec.Descriptor, data []byte) error {
	there, err := repo.Blobs().Exists(ctx, descriptor)
	if err != nil || there {
		return err
	}
	return repo.Blobs().Push(ctx, descriptor, bytes.NewReader(data))
}
