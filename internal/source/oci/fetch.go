package oci

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"

	"atoll.dev/atoll/internal/source"
	"atoll.dev/atoll/internal/source/archive"
	"atoll.dev/atoll/internal/source/helm"
)

// Types of manifests and layers.
const (
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	fluxLayer      = "application/vnd.cncf.flux.content.v1.tar+gzip"
	chartLayer     = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
	emptyLayer     = "application/vnd.oci.empty.v1+json"
	// unpack is ORAS' word for a layer that is a folder.
	unpack = "io.deis.oras.content.unpack"
)

// Fetch is source.Origin's.
func (o *origin) Fetch(ctx context.Context, f source.Found) (source.Snapshot, func(), error) {
	d := o.found
	s, release, err := o.of.folders.Get(ctx, o.key(o.chart+" "+f.Ref+" "+f.ID), func(ctx context.Context, dir string) (source.Snapshot, int64, error) {
		ctx, cancel := context.WithTimeout(ctx, o.of.limits.Fetch)
		defer cancel()
		m, err := o.manifest(ctx, d)
		if err != nil {
			return source.Snapshot{}, 0, err
		}
		if o.chart != "" {
			return o.unpackChart(ctx, m, f, dir)
		}
		return o.unpackArtifact(ctx, m, f, dir)
	})
	if err != nil || o.chart != "" {
		return s, release, err
	}
	s.Path = o.folder
	if err := offers(s); err != nil {
		release()
		return source.Snapshot{}, nil, err
	}
	return s, release, nil
}

// offers says why a folder cannot be had.
func offers(s source.Snapshot) error {
	info, err := os.Lstat(filepath.Join(s.Dir, filepath.FromSlash(s.Path)))
	switch {
	case errors.Is(err, os.ErrNotExist):
		return source.Refuse(source.SourceRefused, "the artifact has no folder %q", s.Path)
	case err != nil:
		return fmt.Errorf("look into artifact %s: %w", source.ShortID(s.Revision.ID), err)
	case !info.IsDir():
		return source.Refuse(source.SourceRefused, "%q is a file; give the folder that it is in", s.Path)
	}
	return nil
}

func (o *origin) manifest(ctx context.Context, d ocispec.Descriptor) (ocispec.Manifest, error) {
	var m ocispec.Manifest
	if d.MediaType != ocispec.MediaTypeImageManifest && d.MediaType != dockerManifest {
		return m, source.Refuse(source.SourceRefused, "%s of %s is %s and no manifest; give the tag or digest of one", source.ShortID(string(d.Digest)), o, source.Line(d.MediaType))
	}
	in, err := o.repository.Manifests().Fetch(ctx, d)
	if err != nil {
		return m, o.failure(err, o.gone(d))
	}
	defer in.Close()
	data, err := content.ReadAll(in, d)
	if err != nil {
		return m, o.failure(err, o.gone(d))
	}
	if err := json.Unmarshal(data, &m); err != nil {
		return m, source.Refuse(source.SourceRefused, "the manifest cannot be read: %s", source.Line(err.Error()))
	}
	if len(m.Layers) > o.of.limits.Layers {
		return m, source.Refuse(source.TooLarge, "the artifact has %d layers, more than %d", len(m.Layers), o.of.limits.Layers)
	}
	return m, nil
}

func (o *origin) gone(d ocispec.Descriptor) error {
	return source.Fail(source.RefNotFound, "%s has %s no more", o, source.ShortID(string(d.Digest)))
}

// layer brings one layer into a file, which the caller discards.
func (o *origin) layer(ctx context.Context, d ocispec.Descriptor) (*os.File, error) {
	if d.Size > o.of.limits.Layer {
		return nil, source.Refuse(source.TooLarge, "layer %s has %d bytes, more than %d MiB", source.ShortID(string(d.Digest)), d.Size, o.of.limits.Layer>>20)
	}
	if !source.IsDigest(string(d.Digest)) {
		return nil, source.Refuse(source.SourceRefused, "a layer is named by %q; only sha256 is read", source.Line(string(d.Digest)))
	}
	in, err := o.repository.Blobs().Fetch(ctx, d)
	if err != nil {
		return nil, o.failure(err, o.gone(d))
	}
	defer in.Close()
	f, err := archive.Receive(o.of.dir, in, string(d.Digest), o.of.limits.Layer)
	var broken *archive.Broken
	if errors.As(err, &broken) {
		return nil, o.failure(err, o.gone(d))
	}
	return f, err
}

func (o *origin) unpackChart(ctx context.Context, m ocispec.Manifest, f source.Found, dir string) (source.Snapshot, int64, error) {
	for _, l := range m.Layers {
		if l.MediaType != chartLayer {
			continue
		}
		packed, err := o.layer(ctx, l)
		if err != nil {
			return source.Snapshot{}, 0, err
		}
		defer archive.Discard(packed)
		return helm.Unpack(ctx, packed, dir, o.of.limits.Folder, helm.Wanted{Name: o.chart, Version: f.Ref, Revision: revision(m, f)})
	}
	return source.Snapshot{}, 0, source.Refuse(source.SourceRefused, "%s of %s is no chart: it has no layer %s", source.ShortID(f.ID), o, chartLayer)
}

func (o *origin) unpackArtifact(ctx context.Context, m ocispec.Manifest, f source.Found, dir string) (source.Snapshot, int64, error) {
	folder, err := archive.Into(dir, o.of.limits.Folder)
	if err != nil {
		return source.Snapshot{}, 0, err
	}
	for _, l := range m.Layers {
		if err == nil && l.MediaType != emptyLayer {
			err = o.unpackLayer(ctx, l, folder)
		}
	}
	err = errors.Join(err, folder.Close())
	return source.Snapshot{Dir: dir, Revision: revision(m, f)}, folder.Size(), err
}

// unpackLayer takes a layer for what it says to be: an archive of Flux's, one
// of ORAS' folders or files, or any archive without a name.
func (o *origin) unpackLayer(ctx context.Context, l ocispec.Descriptor, folder *archive.Folder) error {
	title := l.Annotations[ocispec.AnnotationTitle]
	gzipped := l.MediaType == fluxLayer || l.Annotations[unpack] == "true" || title == "" && strings.HasSuffix(l.MediaType, "tar+gzip")
	plain := title == "" && strings.HasSuffix(l.MediaType, ".tar")
	switch {
	case l.MediaType == chartLayer:
		return source.Refuse(source.SourceRefused, "%s holds a chart; follow it as spec.source.chart", o)
	case title == "" && !gzipped && !plain:
		return source.Refuse(source.SourceRefused, "%s has a layer %s, which is neither a file with a name (%s) nor an archive (tar+gzip)",
			o, source.Line(l.MediaType), ocispec.AnnotationTitle)
	}
	in, err := o.layer(ctx, l)
	if err != nil {
		return err
	}
	defer archive.Discard(in)
	switch {
	case gzipped:
		return folder.TarGzip(ctx, in)
	case plain:
		return folder.Tar(ctx, in)
	}
	return folder.File(title, in, l.Size)
}

// revision is what a manifest says of itself, which are claims.
func revision(m ocispec.Manifest, f source.Found) source.Revision {
	created, _ := time.Parse(time.RFC3339Nano, m.Annotations[ocispec.AnnotationCreated]) // for people only
	return source.Revision{
		ID: f.ID, Ref: f.Ref, Time: created,
		Source:         source.Line(m.Annotations[ocispec.AnnotationSource]),
		SourceRevision: source.Line(m.Annotations[ocispec.AnnotationRevision]),
	}
}
