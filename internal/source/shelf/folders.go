// Package shelf keeps what was got from servers for all applications that ask
// for the same: answers in memory, folders on the disk. It decides who waits for
// whom and what is forgotten first; what is asked, of whom and with which right
// lies in its callers' keys and functions.
package shelf

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"atoll.dev/atoll/internal/source"
)

// Folders are on the disk, and nobody's only copy. They are safe for concurrent
// use.
type Folders struct {
	dir   string
	bytes int64
	now   func() time.Time

	mu  sync.Mutex
	all map[string]*folder
}

type folder struct {
	filling Gate

	// Written with both locks held, so that either will do for reading.
	snapshot source.Snapshot
	filled   bool
	bytes    int64

	// The Folders' own.
	used  time.Time
	users int
}

// Open begins with an empty dir, of at most so many bytes: what was left half
// written by the hub before must not be believed.
func Open(dir string, bytes int64, now func() time.Time) (*Folders, error) {
	if err := os.RemoveAll(dir); err != nil {
		return nil, fmt.Errorf("empty the cache of sources: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the cache of sources: %w", err)
	}
	return &Folders{dir: dir, bytes: bytes, now: now, all: map[string]*folder{}}, nil
}

// Get is a folder that fill has filled once, and says what it is and how many
// bytes it takes. It stays until release is called.
func (f *Folders) Get(ctx context.Context, key string, fill func(ctx context.Context, dir string) (source.Snapshot, int64, error)) (s source.Snapshot, release func(), err error) {
	sum := sha256.Sum256([]byte(key))
	name := hex.EncodeToString(sum[:16])
	one := f.take(name)
	defer func() {
		if err != nil {
			f.leave(one)
		}
	}()
	if err := one.filling.Lock(ctx); err != nil {
		return source.Snapshot{}, nil, err
	}
	defer one.filling.Unlock()
	dir := filepath.Join(f.dir, name)
	if _, gone := os.Lstat(dir); !one.filled || gone != nil {
		if err := f.fill(ctx, one, dir, fill); err != nil {
			return source.Snapshot{}, nil, err
		}
	}
	return one.snapshot, func() { f.leave(one) }, nil
}

func (f *Folders) fill(ctx context.Context, one *folder, dir string, fill func(ctx context.Context, dir string) (source.Snapshot, int64, error)) error {
	f.fills(one, source.Snapshot{}, 0, false)
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("make room for a source: %w", err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("make room for a source: %w", err)
	}
	s, bytes, err := fill(ctx, dir)
	if err != nil {
		_ = os.RemoveAll(dir) // the next attempt removes it too
		return err
	}
	s.Dir = dir
	f.fills(one, s, bytes, true)
	return nil
}

func (f *Folders) fills(one *folder, s source.Snapshot, bytes int64, filled bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	one.snapshot, one.bytes, one.filled = s, bytes, filled
}

func (f *Folders) take(name string) *folder {
	f.mu.Lock()
	defer f.mu.Unlock()
	one := f.all[name]
	if one == nil {
		one = &folder{filling: make(Gate, 1)}
		f.all[name] = one
	}
	one.used, one.users = f.now(), one.users+1
	return one
}

// leave removes what was not used for the longest, if it is too much.
func (f *Folders) leave(one *folder) {
	f.mu.Lock()
	defer f.mu.Unlock()
	one.users--
	var total int64
	for name, other := range f.all {
		if !other.filled && other.users == 0 {
			delete(f.all, name)
		}
		total += other.bytes
	}
	for _, name := range slices.SortedFunc(maps.Keys(f.all), func(a, b string) int { return f.all[a].used.Compare(f.all[b].used) }) {
		other := f.all[name]
		if total <= f.bytes {
			return
		}
		if other.users > 0 || os.RemoveAll(filepath.Join(f.dir, name)) != nil {
			continue // what could not be removed is tried again
		}
		total -= other.bytes
		delete(f.all, name)
	}
}
