package kustomize

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/filesys"

	"atoll.dev/atoll/internal/render/tree"
)

// mounted is the only file system that the library sees: the tree, and what
// the options made. It remembers what was read.
type mounted struct {
	tree    fs.FS
	read    map[string][32]byte
	made    map[string][]byte
	bytes   int64
	refused error // the first refusal
}

var _ filesys.FileSystem = (*mounted)(nil)

// in gives the name within the tree; ok is whether there can be one.
func in(name string) (inTree string, ok bool) {
	clean := path.Clean(path.Join("/", filepath.ToSlash(name)))
	if clean == mount {
		return ".", true
	}
	rest, ok := strings.CutPrefix(clean, mount+"/")
	return rest, ok && fs.ValidPath(rest)
}

func (m *mounted) stat(name string) (fs.FileInfo, error) {
	inTree, ok := in(name)
	if !ok {
		return nil, fs.ErrNotExist
	}
	info, err := fs.Stat(m.tree, inTree)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, m.refuse(explain(inTree, err))
	}
	return info, err
}

// Exists tells of files and folders.
func (m *mounted) Exists(name string) bool {
	if _, made := m.made[path.Clean(name)]; made || m.IsDir(name) {
		return true
	}
	_, err := m.stat(name)
	return err == nil
}

// IsDir tells of folders.
func (m *mounted) IsDir(name string) bool {
	if clean := path.Clean(name); clean == "/" || clean == overlay {
		return true
	}
	info, err := m.stat(name)
	return err == nil && info.IsDir()
}

// CleanedAbs divides a path into its folder and its file.
func (m *mounted) CleanedAbs(name string) (filesys.ConfirmedDir, string, error) {
	clean := path.Clean(path.Join("/", name))
	if m.IsDir(clean) {
		return filesys.ConfirmedDir(clean), "", nil
	}
	if !m.Exists(clean) {
		return "", "", fmt.Errorf("'%s' doesn't exist", clean)
	}
	return filesys.ConfirmedDir(path.Dir(clean)), path.Base(clean), nil
}

// ReadFile reads, unless a kustomization leads out of the tree.
func (m *mounted) ReadFile(name string) ([]byte, error) {
	if text, made := m.made[path.Clean(name)]; made {
		return text, nil
	}
	inTree, ok := in(name)
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	if err := m.afford(inTree); err != nil {
		return nil, err
	}
	data, err := fs.ReadFile(m.tree, inTree)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, err // the library asks for one name after the other
	}
	if err != nil {
		return nil, m.refuse(explain(inTree, err))
	}
	m.read[inTree] = sha256.Sum256(data)
	if slices.Contains(FileNames(), path.Base(inTree)) {
		if err := checkReferences(inTree, data); err != nil {
			return nil, m.refuse(err)
		}
	}
	return data, nil
}

// afford counts what is read against the limits.
func (m *mounted) afford(name string) error {
	info, err := fs.Stat(m.tree, name)
	if err != nil || info.IsDir() {
		return err
	}
	if m.bytes += info.Size(); m.bytes > tree.MaxBytes {
		return m.refuse(fmt.Errorf("the kustomization reads more than %d bytes, counted up to %s: split it", tree.MaxBytes, name))
	}
	return nil
}

func (m *mounted) refuse(err error) error {
	if err != nil && m.refused == nil && !errors.Is(err, fs.ErrNotExist) {
		m.refused = err
	}
	return err
}

// ReadDir lists a folder.
func (m *mounted) ReadDir(name string) ([]string, error) {
	inTree, ok := in(name)
	if !ok {
		return nil, fs.ErrNotExist
	}
	entries, err := fs.ReadDir(m.tree, inTree)
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

// Glob matches names, as globs in a kustomization's resources may.
func (m *mounted) Glob(pattern string) ([]string, error) {
	inTree, ok := in(pattern)
	if !ok {
		return nil, nil
	}
	names, err := fs.Glob(m.tree, inTree)
	for i := range names {
		names[i] = path.Join(mount, names[i])
	}
	return names, err
}

// Walk visits a folder and all below it.
func (m *mounted) Walk(name string, visit filepath.WalkFunc) error {
	inTree, ok := in(name)
	if !ok {
		return fs.ErrNotExist
	}
	return fs.WalkDir(m.tree, inTree, func(at string, e fs.DirEntry, err error) error {
		if err != nil {
			return visit(path.Join(mount, at), nil, err)
		}
		info, err := e.Info()
		return visit(path.Join(mount, at), info, err)
	})
}

// Create, Mkdir, MkdirAll, RemoveAll, Open and WriteFile are refused; the
// library needs none of them to build.
func (m *mounted) Create(string) (filesys.File, error) { return nil, errReadOnly }
func (m *mounted) Mkdir(string) error                  { return errReadOnly }
func (m *mounted) MkdirAll(string) error               { return errReadOnly }
func (m *mounted) RemoveAll(string) error              { return errReadOnly }
func (m *mounted) Open(string) (filesys.File, error)   { return nil, errReadOnly }
func (m *mounted) WriteFile(string, []byte) error      { return errReadOnly }
