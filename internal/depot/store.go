package depot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"atoll.dev/atoll/internal/blob"
	"atoll.dev/atoll/internal/desired"
)

// Stores have one Store a project, so that to name the digest of another
// project's content gives nothing.
type Stores interface {
	// Project is the content of one project; that it exists is not asked.
	Project(name string) (Store, error)
	// Projects are those that have content, as far as the storage tells.
	Projects(ctx context.Context) ([]string, error)
}

// Store keeps content by digest, and is safe for concurrent use.
type Store interface {
	// Put returns when the content is durable; one that is there becomes young
	// again.
	Put(ctx context.Context, d desired.Digest, data []byte) error
	// Get returns what was put, checked; blob.ErrMissing and blob.ErrCorrupt last
	// until it is put again, every other error may pass.
	Get(ctx context.Context, d desired.Digest) ([]byte, error)
	// Digests are all contents, in any order.
	Digests(ctx context.Context) ([]desired.Digest, error)
	// Stored is when a content was last put, or blob.ErrMissing.
	Stored(ctx context.Context, d desired.Digest) (time.Time, error)
	// Delete removes a content; one that is not there is no error.
	Delete(ctx context.Context, d desired.Digest) error
}

// Folder keeps the content of each project in a folder of its name in dir.
func Folder(dir string) Stores { return folder(dir) }

type folder string

func (f folder) Project(name string) (Store, error) {
	s, err := blob.Open(filepath.Join(string(f), name))
	return disk{s}, err
}

func (f folder) Projects(context.Context) ([]string, error) {
	entries, err := os.ReadDir(string(f))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list the content store: %w", err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, nil
}

// disk is quick enough not to be given up half way.
type disk struct{ blobs *blob.Store }

func (s disk) Put(_ context.Context, d desired.Digest, data []byte) error {
	return s.blobs.Put(d, data)
}

func (s disk) Get(_ context.Context, d desired.Digest) ([]byte, error) { return s.blobs.Get(d) }

func (s disk) Delete(_ context.Context, d desired.Digest) error { return s.blobs.Delete(d) }

func (s disk) Stored(_ context.Context, d desired.Digest) (time.Time, error) {
	return s.blobs.Stored(d)
}

func (s disk) Digests(context.Context) ([]desired.Digest, error) {
	entries, err := s.blobs.List()
	digests := make([]desired.Digest, len(entries))
	for i, e := range entries {
		digests[i] = e.Digest
	}
	return digests, err
}
