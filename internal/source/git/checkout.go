package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/storage/filesystem"

	"atoll.dev/atoll/internal/source"
)

// gap is what a checkout lacks, or has in another form: it matters to whoever
// asked for a folder around it.
type gap struct {
	path string
	why  string
	// to is where a link leads, "" for what is no link: who asked for a folder
	// around both may have it.
	to string
}

// there tells whether nobody has cleared the checkout away.
func (t *tree) there() bool {
	_, err := os.Lstat(t.dir)
	return err == nil
}

// offers says why a folder cannot be had from a checkout.
func (t *tree) offers(folder string) error {
	for _, g := range t.gaps {
		if (within(g.path, folder) || within(folder, g.path)) && (g.to == "" || !within(g.to, folder)) {
			return source.Refuse(source.SourceRefused, "%s %s", g.path, g.why)
		}
	}
	info, err := os.Lstat(path.Join(t.dir, folder))
	switch {
	case errors.Is(err, os.ErrNotExist):
		return source.Refuse(source.SourceRefused, "commit %s has no folder %q", source.ShortID(t.revision.ID), folder)
	case err != nil:
		return fmt.Errorf("look into the checkout of %s: %w", source.ShortID(t.revision.ID), err)
	case !info.IsDir():
		return source.Refuse(source.SourceRefused, "%q is a file; give the folder that it is in", folder)
	}
	return nil
}

func within(name, folder string) bool {
	return folder == "." || name == folder || strings.HasPrefix(name, folder+"/")
}

// writer writes a tree of objects into a folder: regular files and nothing else.
type writer struct {
	ctx    context.Context
	store  *filesystem.Storage
	root   *os.Root // whatever a name may be, nothing is written beside it
	top    *object.Tree
	limits Limits
	files  int
	bytes  int64
	gaps   []gap
	// trees are the folders that were read, listed and said how many bytes they
	// and the gaps take, for all of it is in memory.
	trees        map[plumbing.Hash]*object.Tree
	listed, said int64
}

func newWriter(ctx context.Context, s *filesystem.Storage, top plumbing.Hash, dir string, l Limits) (*writer, error) {
	w := &writer{ctx: ctx, store: s, limits: l, trees: map[plumbing.Hash]*object.Tree{}}
	var err error
	if w.top, err = w.tree(top); err != nil {
		return nil, err
	}
	w.root, err = os.OpenRoot(dir)
	return w, err
}

// maxEntry is what a file takes in the listing of its folder at most, in bytes:
// its mode, a name of 255, and an ID.
const maxEntry = 7 + 256 + 20

// tree reads a folder's listing. What together is more than the listings of as
// many files as there may be is not read: nothing else bounds one listing.
func (w *writer) tree(id plumbing.Hash) (*object.Tree, error) {
	if t := w.trees[id]; t != nil {
		return t, nil
	}
	o, err := w.store.EncodedObject(plumbing.TreeObject, id)
	if err != nil {
		return nil, err
	}
	if w.listed += o.Size(); w.listed > int64(w.limits.Files)*maxEntry {
		return nil, w.tooMany()
	}
	t, err := object.DecodeTree(w.store, o)
	if err == nil {
		w.trees[id] = t
	}
	return t, err
}

func (w *writer) tooMany() error {
	return source.Refuse(source.TooLarge, "the repository has more than %d files; keep manifests in a smaller one", w.limits.Files)
}

func (w *writer) all() error { return w.folder(w.top, "", 0) }

// Close ends writing.
func (w *writer) Close() error { return w.root.Close() }

func (w *writer) skip(name, why string) { w.note(gap{path: name, why: why}) }

func (w *writer) note(g gap) {
	w.said += int64(len(g.path) + len(g.why) + len(g.to))
	w.gaps = append(w.gaps, g)
}

// maxSaid bounds what is remembered of files that are not as they were, in bytes.
const maxSaid = 8 << 20

func (w *writer) folder(t *object.Tree, prefix string, depth int) error {
	for _, e := range t.Entries {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		if w.files++; w.files > w.limits.Files {
			return w.tooMany()
		}
		if err := w.entry(e, prefix, depth); err != nil {
			return err
		}
		if w.said > maxSaid {
			return source.Refuse(source.TooLarge, "the repository has too many links, submodules and files of Git LFS, up to %s; keep manifests in one without them", path.Join(prefix, source.Line(e.Name)))
		}
	}
	return nil
}

func (w *writer) entry(e object.TreeEntry, prefix string, depth int) error {
	name := path.Join(prefix, e.Name)
	switch {
	case !source.PlainName(e.Name):
		// Said of the folder around it: the name itself may name anything.
		w.skip(path.Join(prefix, "?"), fmt.Sprintf("stands for a file with the name %q, which is none that is safe; rename it", e.Name))
		return nil
	case e.Mode == filemode.Submodule:
		w.skip(name, "is a submodule, which is not followed; give its repository as a source of its own, or copy the manifests")
		return nil
	case e.Mode == filemode.Symlink:
		return w.link(e, name)
	case e.Mode != filemode.Dir:
		return w.file(e.Hash, name)
	case depth >= w.limits.Depth:
		w.skip(name, fmt.Sprintf("lies more than %d folders deep", w.limits.Depth))
		return nil
	}
	sub, err := w.tree(e.Hash)
	if err != nil {
		return err
	}
	if err := w.root.Mkdir(name, 0o700); err != nil {
		return err
	}
	return w.folder(sub, name, depth+1)
}

// lfs begins the files that stand for those which Git LFS keeps elsewhere.
var lfs = []byte("version https://git-lfs.github.com/spec/v1")

func (w *writer) file(id plumbing.Hash, name string) error {
	blob, err := w.store.EncodedObject(plumbing.BlobObject, id)
	if err != nil {
		return err
	}
	if blob.Size() > w.limits.File {
		w.skip(name, fmt.Sprintf("has %d bytes, more than %d MiB", blob.Size(), w.limits.File>>20))
		return nil
	}
	if w.bytes += blob.Size(); w.bytes > w.limits.Bytes {
		return source.Refuse(source.TooLarge, "the repository's files have more than %d MiB; keep manifests in a smaller one", w.limits.Bytes>>20)
	}
	in, err := blob.Reader()
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := w.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	head := &measure{left: blob.Size()}
	_, err = io.Copy(io.MultiWriter(out, head), in)
	if err := errors.Join(err, out.Close()); err != nil {
		return err
	}
	if !bytes.Equal(head.head, lfs[:headSize]) {
		return nil
	}
	w.skip(name, "is kept in Git LFS, which is not read; commit the file itself")
	// What stands for it must not be taken for it, by a base of another folder.
	return w.root.Remove(name)
}

// link writes a copy of the file that a link within the repository leads to.
func (w *writer) link(e object.TreeEntry, name string) error {
	blob, err := w.store.EncodedObject(plumbing.BlobObject, e.Hash)
	if err != nil {
		return err
	}
	if blob.Size() > 4096 {
		w.skip(name, "is a link that leads nowhere")
		return nil
	}
	in, err := blob.Reader()
	if err != nil {
		return err
	}
	defer in.Close()
	text, err := io.ReadAll(io.LimitReader(in, 4096))
	if err != nil {
		return err
	}
	to := path.Join(path.Dir(name), string(text))
	if path.IsAbs(string(text)) || to == ".." || strings.HasPrefix(to, "../") {
		w.skip(name, "is a link that leads out of the repository")
		return nil
	}
	target, err := w.find(to)
	var tooLarge *source.Failure
	if errors.As(err, &tooLarge) {
		return err
	}
	if err != nil || !(target.Mode == filemode.Regular || target.Mode == filemode.Executable || target.Mode == filemode.Deprecated) {
		w.skip(name, fmt.Sprintf("is a link to %q, which is no file; links to folders and to links are not followed", to))
		return nil
	}
	w.note(gap{path: name, to: to, why: fmt.Sprintf("is a link to %q, out of the folder of this application; copy the file, or give a folder that holds both", to)})
	return w.file(target.Hash, name)
}

// find is a file by its path.
func (w *writer) find(to string) (*object.TreeEntry, error) {
	folder := w.top
	parts := strings.Split(to, "/")
	for _, part := range parts[:len(parts)-1] {
		e, err := folder.FindEntry(part)
		if err != nil {
			return nil, err
		}
		if folder, err = w.tree(e.Hash); err != nil {
			return nil, err
		}
	}
	return folder.FindEntry(parts[len(parts)-1])
}
