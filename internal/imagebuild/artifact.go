package imagebuild

import (
	"bytes"
	"encoding/json"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// artifact is a document that belongs to an image, as the OCI image
// specification 1.1 has it: a manifest with an artifact type, an empty
// configuration, one layer and a subject. Registries list it among the
// subject's referrers.
type artifact struct {
	layer    v1.Layer
	manifest []byte
}

var emptyConfig = []byte("{}")

func attach(document []byte, mediaType string, subject v1.Descriptor) (v1.Image, error) {
	a := artifact{layer: static.NewLayer(document, types.MediaType(mediaType))}
	layer, err := partial.Descriptor(a.layer)
	if err != nil {
		return nil, fmt.Errorf("describe the document: %w", err)
	}
	digest, size, err := v1.SHA256(bytes.NewReader(emptyConfig))
	if err != nil {
		return nil, fmt.Errorf("describe an empty configuration: %w", err)
	}
	a.manifest, err = json.Marshal(v1.Manifest{
		SchemaVersion: 2,
		MediaType:     types.OCIManifestSchema1,
		ArtifactType:  mediaType,
		Config:        v1.Descriptor{MediaType: types.OCIEmptyJSON, Size: size, Digest: digest},
		Layers:        []v1.Descriptor{*layer},
		// Without its platform: it is compared with manifests, which have none.
		Subject: &v1.Descriptor{MediaType: subject.MediaType, Size: subject.Size, Digest: subject.Digest},
	})
	if err != nil {
		return nil, fmt.Errorf("encode the manifest: %w", err)
	}
	return partial.CompressedToImage(a)
}

func (a artifact) RawConfigFile() ([]byte, error)      { return emptyConfig, nil }
func (a artifact) MediaType() (types.MediaType, error) { return types.OCIManifestSchema1, nil }
func (a artifact) RawManifest() ([]byte, error)        { return a.manifest, nil }

// LayerByDigest serves the two blobs that the manifest names.
func (a artifact) LayerByDigest(h v1.Hash) (partial.CompressedLayer, error) {
	for _, l := range []v1.Layer{a.layer, static.NewLayer(emptyConfig, types.OCIEmptyJSON)} {
		if digest, err := l.Digest(); err != nil || digest == h {
			return l, err
		}
	}
	return nil, fmt.Errorf("the artifact has no blob %s", h)
}
