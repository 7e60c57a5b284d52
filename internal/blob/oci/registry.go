package oci

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote"

	"atoll.dev/atoll/internal/blob"
	"atoll.dev/atoll/internal/desired"
)

// ErrForeign says that other keys' content lies there. Two hubs in one place
// would each sweep what only the other uses.
var ErrForeign = errors.New("it holds the content of a hub with other keys; give each hub a repository of its own")

const defaultCacheBytes = 1 << 30

// Options say where content lies and whose it is.
type Options struct {
	Location Location
	// Owner names the hub's keys: all hubs of one store have the same.
	Owner string
	// Cache is a folder for copies, of at most CacheBytes on disk; default 1 GiB.
	Cache      string
	CacheBytes int64
	// Patience is how long a request may stay unanswered; default 20 seconds.
	Patience time.Duration
	Log      *slog.Logger
}

// Registry is safe for concurrent use.
type Registry struct {
	Options
	client *remote.Registry
	packer *blob.Packer
	cache  *cache

	mu      sync.Mutex
	claimed bool
}

// Open asks the registry nothing yet.
func Open(o Options) (*Registry, error) {
	client, err := newClient(o.Location, cmp.Or(o.Patience, defaultPatience))
	if err != nil {
		return nil, fmt.Errorf("open content at %s: %w", o.Location, err)
	}
	r := &Registry{Options: o}
	if r.client, err = remote.NewRegistry(o.Location.Host); err != nil {
		return nil, fmt.Errorf("open content at %s: %w", o.Location, err)
	}
	r.client.Client, r.client.PlainHTTP = client, o.Location.PlainHTTP
	if r.packer, err = blob.NewPacker(); err != nil {
		return nil, fmt.Errorf("open content at %s: %w", o.Location, err)
	}
	r.cache, err = openCache(o.Cache, cmp.Or(o.CacheBytes, defaultCacheBytes), o.Log)
	return r, err
}

// Claim makes the location this owner's, or returns ErrForeign. Every call that
// reaches the registry does it first, until it succeeded.
func (r *Registry) Claim(ctx context.Context) error {
	r.mu.Lock()
	claimed := r.claimed
	r.mu.Unlock()
	if claimed {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, transferTime)
	defer cancel()
	if err := r.claim(ctx); err != nil {
		return fmt.Errorf("claim %s: %w", r.Location, advise(err))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.claimed = true
	return nil
}

func (r *Registry) claim(ctx context.Context) error {
	repo, err := newRepository(r.Location, r.client.Client, "")
	if err != nil {
		return err
	}
	there, err := find(ctx, repo, hubTag)
	if errors.Is(err, blob.ErrMissing) {
		m := ocispec.Manifest{ArtifactType: hubType, Annotations: map[string]string{ownerAnnotation: r.Owner}}
		if err := write(ctx, repo, hubTag, m); err != nil {
			return err
		}
		there, err = find(ctx, repo, hubTag) // another hub may have been quicker
	}
	if err != nil {
		return err
	}
	if there.manifest.Annotations[ownerAnnotation] != r.Owner {
		return ErrForeign
	}
	return nil
}

// Project is the content of one project, in a repository of its own.
func (r *Registry) Project(name string) (*Store, error) {
	repo, err := newRepository(r.Location, r.client.Client, name)
	if err != nil {
		return nil, err
	}
	return &Store{registry: r, project: name, repo: repo, damaged: map[desired.Digest]bool{}}, nil
}

// Projects are those that have a repository, where the registry lists them.
// Many do not, and then there are none: their content is not found once the
// project is gone.
func (r *Registry) Projects(ctx context.Context) ([]string, error) {
	if err := r.Claim(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, transferTime)
	defer cancel()
	var names []string
	err := r.client.Repositories(ctx, "", func(repositories []string) error {
		for _, path := range repositories {
			if name, ok := strings.CutPrefix(path, r.Location.Path+"/"); ok && !strings.Contains(name, "/") {
				names = append(names, name)
			}
		}
		return nil
	})
	if answered(err, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusUnauthorized, http.StatusForbidden) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the projects with content at %s: %w", r.Location, err)
	}
	return names, nil
}
