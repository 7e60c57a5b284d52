// Package tree reads the files that a render starts from: part of a
// repository, or an unpacked archive. It decides what may be read: nothing out
// of the tree, whatever a link says, and no more than its limits. It leaves
// what the files mean to its callers.
package tree

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
)

// Limits of what one render reads.
const (
	// MaxFiles is how many files.
	MaxFiles = 10_000
	// MaxBytes is their size together.
	MaxBytes = 64 << 20
	// maxDepth bounds folders within folders, and links that lead in a circle.
	maxDepth = 32
)

// File is a file of a tree; Name is slash-separated and relative to the folder
// that was read.
type File struct {
	Name string
	Data []byte
}

// Open confines reading to a directory: links that lead out of it do not
// resolve. Close releases the directory.
func Open(dir string) (files fs.FS, closeIt func() error, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("open the files to render: %w", err)
	}
	return root.FS(), root.Close, nil
}

// Clean is a path within a tree as fs.FS wants it: "." for "", no "./" and no
// slash at the end. One that leaves the tree is refused.
func Clean(p string) (string, error) {
	clean := path.Clean(p)
	if path.IsAbs(clean) || !fs.ValidPath(clean) || strings.ContainsAny(p, "\\\x00") {
		return "", fmt.Errorf("path %q leads out of the repository: give one that is relative to its root", p)
	}
	return clean, nil
}

// Files are the regular files of a folder and those below it, in lexical
// order. Links are followed within the tree. skip leaves out a file, or a
// folder with all that is in it; name is relative to the folder.
func Files(tree fs.FS, folder string, skip func(name string, info fs.FileInfo) bool) ([]File, error) {
	info, err := fs.Stat(tree, folder)
	if err != nil {
		return nil, Explain(folder, err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("%s is a file: give the folder that it lies in", folder)
	}
	w := walk{tree: tree, folder: folder, skip: skip}
	if err := w.into(".", 0); err != nil {
		return nil, err
	}
	return w.files, nil
}

type walk struct {
	tree   fs.FS
	folder string
	skip   func(string, fs.FileInfo) bool
	files  []File
	bytes  int64
}

func (w *walk) into(name string, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%s lies more than %d folders deep: a link may lead in a circle", path.Join(w.folder, name), maxDepth)
	}
	entries, err := fs.ReadDir(w.tree, path.Join(w.folder, name))
	if err != nil {
		return Explain(path.Join(w.folder, name), err)
	}
	for _, e := range entries {
		if err := w.entry(path.Join(name, e.Name()), depth); err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) entry(name string, depth int) error {
	full := path.Join(w.folder, name)
	info, err := fs.Stat(w.tree, full) // of what a link leads to
	if err != nil {
		return Explain(full, err)
	}
	if w.skip(name, info) {
		return nil
	}
	if info.IsDir() {
		return w.into(name, depth+1)
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is neither a file nor a folder (%s): remove it", full, info.Mode().Type())
	}
	if len(w.files) >= MaxFiles {
		return fmt.Errorf("%s holds more than %d files: give a path with fewer", w.folder, MaxFiles)
	}
	if w.bytes += info.Size(); w.bytes > MaxBytes {
		return fmt.Errorf("%s holds more than %d bytes, counted up to %s: give a path with less", w.folder, MaxBytes, full)
	}
	data, err := fs.ReadFile(w.tree, full)
	if err != nil {
		return Explain(full, err)
	}
	w.files = append(w.files, File{Name: name, Data: data})
	return nil
}

// Explain says what an error of reading means to the owner of the files.
func Explain(name string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s does not exist in the source: check the path, or where a link leads", name)
	case errors.Is(err, syscall.ELOOP):
		return fmt.Errorf("%s follows too many links: one may lead in a circle", name)
	case strings.Contains(err.Error(), "escapes"):
		return fmt.Errorf("%s is a link that leads out of the source: put a copy of the file there", name)
	}
	return fmt.Errorf("read %s: %w", name, err)
}
