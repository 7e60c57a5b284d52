package oci

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/source"
	"atoll.dev/atoll/internal/source/web"
)

// origin is an artifact as one application follows it.
type origin struct {
	of *Registries
	at source.Address
	// chart is its name, and wanted the version of it; or ref says which artifact.
	chart, wanted string
	ref           v1alpha1.OCIRef
	folder        string
	credentials   *web.Credentials
	holder        string
	repository    *remote.Repository

	// found is what the last Find chose.
	found ocispec.Descriptor
}

func (o *origin) String() string { return o.at.String() }

// Find is source.Origin's.
func (o *origin) Find(ctx context.Context, since time.Time) (source.Found, error) {
	name, err := o.choose(ctx, since)
	if err != nil {
		return source.Found{}, err
	}
	if o.found, err = o.resolve(ctx, name, since); err != nil {
		return source.Found{}, err
	}
	id := string(o.found.Digest)
	if !source.IsDigest(id) {
		return source.Found{}, source.Fail(source.SourceRefused, "%s names %s by %q; only sha256 is read", o, name, source.Line(id))
	}
	if source.IsDigest(name) {
		return source.Found{ID: id}, nil
	}
	if o.chart != "" {
		name = version(name)
	}
	return source.Found{ID: id, Ref: name}, nil
}

// choose is the tag or digest that is meant.
func (o *origin) choose(ctx context.Context, since time.Time) (string, error) {
	switch {
	case o.ref.Digest != "":
		return o.ref.Digest, nil
	case o.chart == "" && o.ref.Semver == "":
		return cmp.Or(o.ref.Tag, "latest"), nil
	case o.chart != "" && source.IsVersion(o.wanted):
		return tag(o.wanted), nil
	}
	tags, err := o.of.tags.Ask(ctx, o.key(""), since, o.list)
	if err != nil {
		return "", err
	}
	if o.chart == "" {
		name, err := source.Highest(o.ref.Semver, tags)
		if err != nil {
			return "", source.Fail(source.RefNotFound, "%s: %w", o, err)
		}
		return name, nil
	}
	versions := make([]string, len(tags))
	for i, name := range tags {
		versions[i] = version(name)
	}
	name, err := source.Highest(o.wanted, versions)
	if err != nil {
		return "", source.Fail(source.RefNotFound, "%s: %w", o, err)
	}
	return tags[slices.Index(versions, name)], nil
}

// Tags cannot hold the "+" of a version's metadata: Helm writes "_".
func version(tag string) string { return strings.ReplaceAll(tag, "_", "+") }
func tag(version string) string { return strings.ReplaceAll(version, "+", "_") }

func (o *origin) key(name string) string { return o.at.String() + "\n" + o.holder + "\n" + name }

// list asks for all tags.
func (o *origin) list(ctx context.Context, _ []string) ([]string, int64, error) {
	ctx, cancel := o.of.within(ctx)
	defer cancel()
	var all []string
	var weight int64
	err := o.repository.Tags(ctx, "", func(tags []string) error {
		for _, name := range tags {
			if len(all) >= o.of.limits.Tags {
				return source.Fail(source.TooLarge, "it lists more than %d tags", o.of.limits.Tags)
			}
			if len(name) <= 128 { // no tag is longer
				all = append(all, name)
				weight += int64(len(name)) + 16
			}
		}
		return nil
	})
	if err != nil {
		return nil, 0, o.failure(err, source.Fail(source.RepositoryNotFound, "%s is not there, or not for these credentials", o))
	}
	return all, weight, nil
}

// resolve is what a tag leads to.
func (o *origin) resolve(ctx context.Context, name string, since time.Time) (ocispec.Descriptor, error) {
	return o.of.digests.Ask(ctx, o.key(name), since, func(ctx context.Context, _ ocispec.Descriptor) (ocispec.Descriptor, int64, error) {
		ctx, cancel := o.of.within(ctx)
		defer cancel()
		d, err := o.repository.Resolve(ctx, name)
		if err != nil {
			return d, 0, o.failure(err, source.Fail(source.RefNotFound, "%s has no %s, or is not there, or not for these credentials", o, told(name)))
		}
		return d, 500, nil
	})
}

func told(name string) string {
	if source.IsDigest(name) {
		return "manifest " + source.ShortID(name)
	}
	return fmt.Sprintf("tag %q", name)
}

// Replaces is source.Origin's: tags are moved on purpose, but one version of a
// chart is one chart.
func (o *origin) Replaces(_ context.Context, before, now *v1alpha1.Commit) bool {
	return o.chart != "" && before.Ref == now.Ref
}
