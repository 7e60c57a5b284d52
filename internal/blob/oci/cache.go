package oci

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"atoll.dev/atoll/internal/blob"
	"atoll.dev/atoll/internal/desired"
)

// cache keeps copies in a folder, up to a bound. It may fail: then the registry
// is asked, and the log says why.
type cache struct {
	dir   string
	limit int64 // bytes on disk
	log   *slog.Logger

	mu     sync.Mutex
	stores map[string]*blob.Store
	size   int64
}

func openCache(dir string, limit int64, log *slog.Logger) (*cache, error) {
	c := &cache{dir: dir, limit: limit, log: log, stores: map[string]*blob.Store{}}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open the cache of content: %w", err)
	}
	for _, e := range entries {
		s, err := c.store(e.Name())
		if err != nil {
			return nil, err
		}
		size, err := s.Size()
		if err != nil {
			return nil, err
		}
		c.size += size
	}
	return c, nil
}

// store is called with the lock held, or before anyone else has c.
func (c *cache) store(project string) (*blob.Store, error) {
	if s := c.stores[project]; s != nil {
		return s, nil
	}
	s, err := blob.Open(filepath.Join(c.dir, project))
	if err != nil {
		return nil, fmt.Errorf("cache content of project %s: %w", project, err)
	}
	c.stores[project] = s
	return s, nil
}

func (c *cache) get(project string, d desired.Digest) ([]byte, bool) {
	c.mu.Lock()
	s, err := c.store(project)
	c.mu.Unlock()
	if err != nil {
		c.log.Warn("content is not read from the cache", "err", err)
		return nil, false
	}
	data, err := s.Get(d)
	if err != nil && !errors.Is(err, blob.ErrMissing) {
		c.log.Warn("content is not read from the cache", "project", project, "digest", d, "err", err)
	}
	return data, err == nil
}

func (c *cache) put(project string, d desired.Digest, data []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.add(project, d, data); err != nil {
		c.log.Warn("content is not cached", "project", project, "digest", d, "err", err)
	}
}

func (c *cache) add(project string, d desired.Digest, data []byte) error {
	s, err := c.store(project)
	if err != nil {
		return err
	}
	known := s.Has(d)
	if err := s.Put(d, data); err != nil {
		return err
	}
	if known {
		return nil
	}
	// An upper bound of what it takes on disk, where compression is the rule.
	if c.size += int64(len(data)); c.size <= c.limit {
		return nil
	}
	return c.evict()
}

// evict counts what there really is, and drops the oldest until a quarter of
// the room is free, so that it is not done again for each content.
func (c *cache) evict() error {
	type copied struct {
		blob.Entry
		in *blob.Store
	}
	var all []copied
	c.size = 0
	for _, s := range c.stores {
		entries, err := s.List()
		if err != nil {
			return err
		}
		for _, e := range entries {
			all = append(all, copied{e, s})
			c.size += e.Bytes
		}
	}
	slices.SortFunc(all, func(a, b copied) int {
		return cmp.Or(a.Stored.Compare(b.Stored), cmp.Compare(a.Digest, b.Digest))
	})
	for _, e := range all {
		if c.size <= c.limit/4*3 {
			return nil
		}
		if err := e.in.Delete(e.Digest); err != nil {
			return err
		}
		c.size -= e.Bytes
	}
	return nil
}

func (c *cache) drop(project string, d desired.Digest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, err := c.store(project)
	if err == nil {
		err = s.Delete(d)
	}
	if err != nil {
		c.log.Warn("content stays in the cache", "project", project, "digest", d, "err", err)
	}
}
