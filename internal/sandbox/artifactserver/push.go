package artifactserver

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"
)

// Types of layers that others push.
const (
	ChartLayer = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
	FluxLayer  = "application/vnd.cncf.flux.content.v1.tar+gzip"
	signature  = "application/vnd.dev.cosign.simplesigning.v1+json"
)

// Layer is one of an artifact.
type Layer struct {
	Type        string
	Data        []byte
	Annotations map[string]string
}

// Artifact is what lies under a tag.
type Artifact struct {
	Annotations map[string]string
	Layers      []Layer
}

// Pack makes a compressed archive of files.
func Pack(files map[string]string) []byte {
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	archive := tar.NewWriter(zip)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		err := archive.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(files[name]))})
		if err == nil {
			_, err = io.WriteString(archive, files[name])
		}
		if err != nil {
			panic(err) // a name that no archive can hold
		}
	}
	if err := errors.Join(archive.Close(), zip.Close()); err != nil {
		panic(err) // memory is always written
	}
	return packed.Bytes()
}

// Chart is an archive of a chart with these files beside its Chart.yaml.
func Chart(name, version string, files map[string]string) []byte {
	all := map[string]string{name + "/Chart.yaml": fmt.Sprintf("apiVersion: v2\nname: %s\nversion: %q\nappVersion: \"7\"\n", name, version)}
	for file, text := range files {
		all[name+"/"+file] = text
	}
	return Pack(all)
}

// Push puts an artifact under a tag of a repository, and returns its digest.
func (s *Server) Push(ctx context.Context, repository, tag string, a Artifact) (string, error) {
	to := &remote.Repository{Client: s.client(), Reference: registry.Reference{Registry: s.Host(), Repository: repository}}
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Config: ocispec.DescriptorEmptyJSON, Annotations: a.Annotations}
	blobs := append([]Layer{{Data: m.Config.Data}}, a.Layers...)
	for i, l := range blobs {
		d := ocispec.Descriptor{MediaType: l.Type, Digest: digest.FromBytes(l.Data), Size: int64(len(l.Data)), Annotations: l.Annotations}
		if err := to.Blobs().Push(ctx, d, bytes.NewReader(l.Data)); err != nil {
			return "", fmt.Errorf("push a layer to %s: %w", repository, err)
		}
		if i > 0 {
			m.Layers = append(m.Layers, d)
		}
	}
	data, err := json.Marshal(m)
	if err != nil {
		return "", err
	}
	d := ocispec.Descriptor{MediaType: m.MediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
	if err := to.PushReference(ctx, d, bytes.NewReader(data), tag); err != nil {
		return "", fmt.Errorf("push %s:%s: %w", repository, tag, err)
	}
	return d.Digest.String(), nil
}

// Payload is what cosign signs of a digest.
func Payload(digest string) []byte {
	return []byte(`{"critical":{"identity":{"docker-reference":"registry.example.com/shop"},"image":{"docker-manifest-digest":"` + digest +
		`"},"type":"cosign container image signature"},"optional":null}`)
}

// Sign puts signatures, which sign makes of payloads, where cosign keeps those
// of a digest.
func (s *Server) Sign(ctx context.Context, repository, digest string, sign func(payload []byte) ([]byte, error), payloads ...[]byte) error {
	var a Artifact
	for _, payload := range payloads {
		made, err := sign(payload)
		if err != nil {
			return fmt.Errorf("sign %s: %w", digest, err)
		}
		a.Layers = append(a.Layers, Layer{Type: signature, Data: payload,
			Annotations: map[string]string{"dev.cosignproject.cosign/signature": base64.StdEncoding.EncodeToString(made)}})
	}
	_, err := s.Push(ctx, repository, strings.Replace(digest, ":", "-", 1)+".sig", a)
	return err
}
