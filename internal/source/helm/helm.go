// Package helm fetches charts of Helm repositories: an index that lists them,
// and archives, over HTTPS. All of it is foreign: it is bounded, an archive must
// be what the index's digest names, and nothing but regular files is written.
//
// Which version is meant is left to internal/source, which addresses may be
// dialled to internal/egress, how a chart is rendered to internal/render, charts
// in registries to source/oci, and when to look to internal/controllers/source.
package helm

import (
	"time"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/source"
	"atoll.dev/atoll/internal/source/archive"
	"atoll.dev/atoll/internal/source/shelf"
	"atoll.dev/atoll/internal/source/web"
)

// Limits bound what a repository may cost.
type Limits struct {
	// Index is how many bytes an index may have, Versions how many it may list,
	// Listed how many bytes are remembered of all indexes.
	Index    int64
	Versions int
	Listed   int64
	// Archive is how many bytes a chart may have, Folder what it unfolds to.
	Archive int64
	Folder  archive.Limits
	// List and Fetch are how long a server may take.
	List, Fetch time.Duration
	// Disk bounds all charts together, in bytes.
	Disk int64
}

// DefaultLimits are generous for charts and small for a hub.
var DefaultLimits = Limits{
	Index: 16 << 20, Versions: 100_000, Listed: 64 << 20,
	Archive: 64 << 20, Folder: archive.DefaultLimits,
	List: 30 * time.Second, Fetch: 5 * time.Minute, Disk: 2 << 30,
}

// Repositories are safe for concurrent use.
type Repositories struct {
	dir     string
	dial    web.Dialer
	limits  Limits
	indexes *shelf.Answers[index]
	charts  *shelf.Folders
	// parsing is a turn: what an index takes while it is read is many times what
	// is kept of it.
	parsing shelf.Gate
}

// Open begins with an empty dir.
func Open(dir string, dial web.Dialer, limits Limits, now func() time.Time) (*Repositories, error) {
	charts, err := shelf.Open(dir, limits.Disk, now)
	if err != nil {
		return nil, err
	}
	return &Repositories{
		dir: dir, dial: dial, limits: limits, charts: charts,
		indexes: shelf.NewAnswers[index](limits.Listed, now), parsing: make(shelf.Gate, 1),
	}, nil
}

// Open prepares a look; held is nil without a Secret.
func (r *Repositories) Open(s v1alpha1.Source, held *source.Secret) (source.Origin, error) {
	at, err := source.ParseIndex(s.Chart.Repository)
	if err != nil {
		return nil, source.Refuse(source.NoRepository, "spec.source.chart.repository: %w", err)
	}
	if err := source.CheckChart(at, s.Chart.Name); err != nil {
		return nil, source.Refuse(source.NoRepository, "spec.source.chart.name: %w", err)
	}
	o := &origin{of: r, at: at, name: s.Chart.Name, wanted: s.Chart.Version}
	if held != nil {
		o.holder = held.Holder
		o.credentials, err = web.ReadCredentials(at.String(), held.Name, held.Data)
	}
	return o, err
}
