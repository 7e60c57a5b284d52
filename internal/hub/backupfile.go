package hub

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// outFile is a file that is there whole or not at all.
type outFile struct {
	*os.File
	path  string
	force bool
}

// createFile begins a file of mode 0600 beside the one it will be.
func createFile(path string, force bool) (*outFile, error) {
	if _, err := os.Lstat(path); err == nil && !force {
		return nil, exists(path)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("write the backup: %w", err)
	}
	temp, err := os.CreateTemp(filepath.Dir(path), ".atoll-backup-*") // made with mode 0600
	if err != nil {
		return nil, fmt.Errorf("write the backup: %w", err)
	}
	return &outFile{File: temp, path: path, force: force}, nil
}

func exists(path string) error {
	return fmt.Errorf("%s is there already: take another name, or replace it with --force", path)
}

// commit gives the file its name, after all of it is on disk.
func (f *outFile) commit() error {
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write the backup %s: %w", f.path, err)
	}
	if !f.force { // a link, unlike a rename, never replaces what came meanwhile
		if err := os.Link(f.Name(), f.path); errors.Is(err, fs.ErrExist) {
			return exists(f.path)
		} else if err == nil {
			return errors.Join(os.Remove(f.Name()), syncDir(filepath.Dir(f.path)))
		}
	}
	if err := os.Rename(f.Name(), f.path); err != nil { // also where links are not known
		return fmt.Errorf("write the backup: %w", err)
	}
	return syncDir(filepath.Dir(f.path))
}

// discard removes what was not committed.
func (f *outFile) discard() {
	_ = f.Close()           // it may be closed already
	_ = os.Remove(f.Name()) // it may have its name already
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
