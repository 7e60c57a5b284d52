// Package oci fetches artifacts and charts of OCI registries, as Flux, ORAS and
// Helm push them, and reads the signatures that cosign keeps beside them. All of
// it is foreign: everything is bounded and checked against its digest before it
// is unpacked, and nothing but regular files is written.
//
// Which version is meant and whose signature counts is left to internal/source,
// which addresses may be dialled to internal/egress, and when to look to
// internal/controllers/source. The hub's own content in registries is
// internal/blob/oci.
package oci

import (
	"sync"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote/auth"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/source"
	"atoll.dev/atoll/internal/source/archive"
	"atoll.dev/atoll/internal/source/shelf"
	"atoll.dev/atoll/internal/source/web"
)

// Limits bound what a registry may cost.
type Limits struct {
	// Metadata is how many bytes one manifest or one page of tags may have, Tags
	// how many a repository may list, Listed how many bytes of them are remembered.
	Metadata int64
	Tags     int
	Listed   int64
	// Layers is how many one artifact may have, Layer how many bytes one of them.
	Layers int
	Layer  int64
	Folder archive.Limits
	// Signatures are how many are looked at of one artifact.
	Signatures int
	// List and Fetch are how long a registry may take.
	List, Fetch time.Duration
	// Disk bounds all artifacts together, in bytes.
	Disk int64
}

// DefaultLimits are generous for manifests and small for a hub.
var DefaultLimits = Limits{
	Metadata: 4 << 20, Tags: 50_000, Listed: 32 << 20,
	Layers: 64, Layer: 64 << 20, Folder: archive.DefaultLimits, Signatures: 32,
	List: 30 * time.Second, Fetch: 5 * time.Minute, Disk: 2 << 30,
}

// Registries are safe for concurrent use.
type Registries struct {
	dir     string
	dial    web.Dialer
	limits  Limits
	tags    *shelf.Answers[[]string]
	digests *shelf.Answers[ocispec.Descriptor]
	folders *shelf.Folders

	mu      sync.Mutex
	clients map[string]*auth.Client
}

// Open begins with an empty dir.
func Open(dir string, dial web.Dialer, limits Limits, now func() time.Time) (*Registries, error) {
	folders, err := shelf.Open(dir, limits.Disk, now)
	if err != nil {
		return nil, err
	}
	return &Registries{
		dir: dir, dial: dial, limits: limits, folders: folders,
		tags: shelf.NewAnswers[[]string](limits.Listed, now), digests: shelf.NewAnswers[ocispec.Descriptor](limits.Listed, now),
		clients: map[string]*auth.Client{},
	}, nil
}

// Open prepares a look; held is nil without a Secret.
func (r *Registries) Open(s v1alpha1.Source, held *source.Secret) (source.Origin, error) {
	o := &origin{of: r}
	if err := o.read(s); err != nil {
		return nil, err
	}
	if held != nil {
		var err error
		o.holder = held.Holder
		if o.credentials, err = web.ReadRegistryCredentials(o.at.Host, held.Name, held.Data); err != nil {
			return nil, err
		}
	}
	o.repository = r.repository(o)
	return o, nil
}

// read takes what the application says.
func (o *origin) read(s v1alpha1.Source) error {
	var err error
	if c := s.Chart; c != nil {
		below, err := source.ParseIndex(c.Repository)
		if err != nil {
			return source.Refuse(source.NoRepository, "spec.source.chart.repository: %w", err)
		}
		if err := source.CheckChart(below, c.Name); err != nil {
			return source.Refuse(source.NoRepository, "spec.source.chart.name: %w", err)
		}
		o.at, o.chart, o.wanted, o.folder = below.Below(c.Name), c.Name, c.Version, "."
		return nil
	}
	if o.at, err = source.ParseArtifact(s.OCI.URL); err != nil {
		return source.Refuse(source.NoRepository, "spec.source.oci.url: %w", err)
	}
	if err := source.CheckArtifact(s.OCI.Ref); err != nil {
		return source.Refuse(source.RefNotFound, "spec.source.oci.ref: %w", err)
	}
	if o.folder, err = source.Folder(s.OCI.Path); err != nil {
		return source.Refuse(source.SourceRefused, "spec.source.oci.path: %w", err)
	}
	o.ref = s.OCI.Ref
	return nil
}
