// Package blob keeps content on disk by digest. A blob is there completely or
// not at all, survives a crash once Put has returned, and is checked against
// its digest each time it is read. What is kept and for how long is its
// callers' decision; what is in it is internal/content's.
package blob

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"atoll.dev/atoll/internal/desired"
)

// ErrMissing says that the store does not have the blob.
var ErrMissing = errors.New("not in the content store")

// ErrCorrupt says that the stored bytes are not those of the digest. A Store
// has moved the file aside to NAME.corrupt; putting the blob again mends it.
var ErrCorrupt = errors.New("damaged in the content store")

const (
	suffix        = ".zst"
	corruptSuffix = ".corrupt"
	tempPattern   = ".writing-*"
	// staleTemp is when a temporary file can only be left over from a crash:
	// several hubs may write into one shared volume.
	staleTemp = 24 * time.Hour
)

// Store is a directory of blobs. It may be used by several goroutines, and the
// directory by several processes.
type Store struct {
	dir    string
	packer *Packer
	// mu keeps a reader from moving aside a file that a writer has just mended.
	mu sync.Mutex
}

// Open makes the directory if needed and removes what a crash left behind.
func Open(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open the content store: %w", err)
	}
	packer, err := NewPacker()
	if err != nil {
		return nil, fmt.Errorf("open the content store: %w", err)
	}
	s := &Store{dir: dir, packer: packer}
	return s, s.removeStaleTemps()
}

func (s *Store) removeStaleTemps() error {
	temps, err := filepath.Glob(filepath.Join(s.dir, "*", tempPattern))
	if err != nil {
		return fmt.Errorf("open the content store: %w", err)
	}
	for _, temp := range temps {
		info, err := os.Stat(temp)
		if err != nil || time.Since(info.ModTime()) < staleTemp {
			continue
		}
		if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("open the content store: %w", err)
		}
	}
	return nil
}

var digestPattern = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// Hex are the digits of a digest, as names are made of.
func Hex(d desired.Digest) (string, error) {
	if !digestPattern.MatchString(string(d)) {
		return "", fmt.Errorf("%.80q is not a digest: it must be sha256: and 64 hex digits", string(d))
	}
	return strings.TrimPrefix(string(d), "sha256:"), nil
}

// path is where a blob lies: DIR/ab/abcdef….zst. Nothing but a digest becomes
// part of a path.
func (s *Store) path(d desired.Digest) (string, error) {
	hex, err := Hex(d)
	if err != nil {
		return "", err
	}
	return filepath.Join(s.dir, hex[:2], hex+suffix), nil
}

// Put stores data, durably once it returns. Putting what is there already
// makes it young again, so that a sweep by age spares it.
func (s *Store) Put(d desired.Digest, data []byte) error {
	path, err := s.path(d)
	if err != nil {
		return fmt.Errorf("store content: %w", err)
	}
	if err := Verify(d, data); err != nil {
		return fmt.Errorf("store content %s: %w", d.Short(), err)
	}
	if s.refresh(d, path) {
		return nil
	}
	if err := s.write(path, s.packer.Pack(data)); err != nil {
		return fmt.Errorf("store content %s: %w", d.Short(), err)
	}
	return nil
}

// refresh reports whether a good copy is there, and marks it as used now.
func (s *Store) refresh(d desired.Digest, path string) bool {
	if _, err := s.read(d, path); err != nil {
		return false
	}
	now := time.Now()
	return os.Chtimes(path, now, now) == nil
}

func (s *Store) write(path string, data []byte) (err error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	temp, err := os.CreateTemp(dir, tempPattern)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(temp.Name()))
		}
	}()
	_, err = temp.Write(data)
	if err == nil {
		err = temp.Sync()
	}
	if err = errors.Join(err, temp.Close()); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := os.Rename(temp.Name(), path); err != nil {
		return err
	}
	// Both levels: the two-digit directory may be new as well.
	return errors.Join(syncDir(dir), syncDir(s.dir))
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// Get returns the blob, checked against its digest; the error is ErrMissing or
// ErrCorrupt where it applies.
func (s *Store) Get(d desired.Digest) ([]byte, error) {
	path, err := s.path(d)
	if err != nil {
		return nil, fmt.Errorf("read content: %w", err)
	}
	data, err := s.read(d, path)
	if errors.Is(err, ErrCorrupt) {
		data, err = s.quarantine(d, path)
	}
	if err != nil {
		return nil, fmt.Errorf("read content %s: %w", d.Short(), err)
	}
	return data, nil
}

func (s *Store) read(d desired.Digest, path string) ([]byte, error) {
	packed, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrMissing
	}
	if err != nil {
		return nil, err
	}
	return s.packer.Unpack(d, packed)
}

// quarantine looks once more, now that no writer is mending the file, and
// keeps a damaged one for people to look at.
func (s *Store) quarantine(d desired.Digest, path string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	data, err := s.read(d, path)
	if !errors.Is(err, ErrCorrupt) {
		return data, err
	}
	aside := path + corruptSuffix
	if err := os.Rename(path, aside); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w, and it could not be moved aside: %w", ErrCorrupt, err)
	}
	return nil, fmt.Errorf("%w: kept as %s; deploy the content again, or restore the file", ErrCorrupt, aside)
}

// Stored is when the blob was last put; the error is ErrMissing where it is not
// there.
func (s *Store) Stored(d desired.Digest) (time.Time, error) {
	path, err := s.path(d)
	if err != nil {
		return time.Time{}, fmt.Errorf("look at content: %w", err)
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = ErrMissing
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("look at content %s: %w", d.Short(), err)
	}
	return info.ModTime(), nil
}

// Has tells whether a file is there, without reading it.
func (s *Store) Has(d desired.Digest) bool {
	path, err := s.path(d)
	if err != nil {
		return false
	}
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// Delete removes a blob; one that is not there is no error.
func (s *Store) Delete(d desired.Digest) error {
	path, err := s.path(d)
	if err != nil {
		return fmt.Errorf("delete content: %w", err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete content %s: %w", d.Short(), err)
	}
	return nil
}

// Entry is one stored blob.
type Entry struct {
	Digest desired.Digest
	// Bytes is the size on disk, compressed.
	Bytes int64
	// Stored is when it was last put.
	Stored time.Time
}

// List is every blob, by digest.
func (s *Store) List() ([]Entry, error) {
	paths, err := filepath.Glob(filepath.Join(s.dir, "??", "*"+suffix))
	if err != nil {
		return nil, fmt.Errorf("list the content store: %w", err)
	}
	entries := make([]Entry, 0, len(paths))
	for _, path := range paths { // Glob sorts
		d := desired.Digest("sha256:" + strings.TrimSuffix(filepath.Base(path), suffix))
		info, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) || !digestPattern.MatchString(string(d)) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list the content store: %w", err)
		}
		entries = append(entries, Entry{Digest: d, Bytes: info.Size(), Stored: info.ModTime()})
	}
	return entries, nil
}

// Size is what all blobs take on disk, in bytes.
func (s *Store) Size() (int64, error) {
	entries, err := s.List()
	var total int64
	for _, e := range entries {
		total += e.Bytes
	}
	return total, err
}
