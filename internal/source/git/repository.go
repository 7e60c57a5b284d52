package git

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/storage/filesystem"

	"atoll.dev/atoll/internal/source"
	"atoll.dev/atoll/internal/source/shelf"
)

// maxPacks is how many fetches build on each other before all begins anew.
const maxPacks = 16

// repository is one on the disk: its objects, and checkouts of some commits.
type repository struct {
	dir    string
	remote source.Remote
	size   atomic.Int64 // bytes on the disk

	// used and users are the Cache's.
	used  time.Time
	users int

	listing shelf.Gate
	refs    source.Refs
	refsErr error
	listed  time.Time
	weight  atomic.Int64 // bytes of refs in memory

	fetching shelf.Gate
	have     []plumbing.Hash
	// trees are by the hash of their commit, as it is asked for.
	trees map[string]*tree
}

// tree is the checkout of one commit.
type tree struct {
	dir      string
	revision source.Revision
	signed   signed
	gaps     []gap
	bytes    int64
	used     time.Time
	users    atomic.Int32
}

func newRepository(dir string, remote source.Remote) *repository {
	return &repository{dir: dir, remote: remote, listing: make(shelf.Gate, 1), fetching: make(shelf.Gate, 1), trees: map[string]*tree{}}
}

func (r *repository) objects() string { return filepath.Join(r.dir, "git") }

// empty forgets the objects; checkouts stay.
func (r *repository) empty() error {
	r.have = nil
	if err := os.RemoveAll(r.objects()); err != nil {
		return fmt.Errorf("empty the copy of %s: %w", r.remote, err)
	}
	return nil
}

// Little of a repository is in memory at a time.
const (
	objectCache  = 16 * cache.MiByte
	streamedFrom = 1 << 20
)

func (r *repository) open() *filesystem.Storage {
	return filesystem.NewStorageWithOptions(osfs.New(r.objects()), cache.NewObjectLRU(objectCache),
		filesystem.Options{ExclusiveAccess: true, LargeObjectThreshold: streamedFrom})
}

// add takes in a pack that was looked through.
func (r *repository) add(pack *os.File) error {
	if len(r.have) == 0 {
		if err := os.RemoveAll(r.objects()); err != nil {
			return fmt.Errorf("begin a copy of %s: %w", r.remote, err)
		}
	}
	s := r.open()
	if err := s.Init(); err != nil {
		return fmt.Errorf("begin a copy of %s: %w", r.remote, err)
	}
	err := packfile.UpdateObjectStorage(s, pack)
	if errors.Is(err, packfile.ErrEmptyPackfile) {
		err = nil
	}
	if err = errors.Join(err, s.Close()); err != nil {
		return broken(r.remote, err)
	}
	return nil
}

// keep remembers a checkout, and drops older ones that nobody reads.
func (r *repository) keep(t *tree) {
	r.trees[bare(t.revision.ID)] = t
	for id, other := range r.trees {
		if other != t && other.users.Load() == 0 && len(r.trees) > maxTrees && r.older(other) {
			if os.RemoveAll(other.dir) == nil {
				delete(r.trees, id)
			}
		}
	}
	r.weigh()
}

// weigh counts what is on the disk, be it of any use or not.
func (r *repository) weigh() {
	total := onDisk(r.objects())
	for _, t := range r.trees {
		total += t.bytes
	}
	r.size.Store(total)
}

// forget drops the list of what is offered, unless it is just being asked for.
func (r *repository) forget() {
	select {
	case r.listing <- struct{}{}:
		r.refs, r.refsErr, r.listed = nil, nil, time.Time{}
		r.weight.Store(0)
		r.listing.Unlock()
	default:
	}
}

// maxTrees is how many checkouts a repository keeps: its applications may
// follow more than one branch.
const maxTrees = 4

// older says that no idle checkout was used longer ago.
func (r *repository) older(t *tree) bool {
	for _, other := range r.trees {
		if other.users.Load() == 0 && other.used.Before(t.used) {
			return false
		}
	}
	return true
}

func onDisk(dir string) int64 {
	var total int64
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil // an estimate is enough
		}
		if info, err := d.Info(); err == nil {
			total += info.Size()
		}
		return nil
	})
	return total
}

// checkout writes the files of a commit that is here.
func (r *repository) checkout(ctx context.Context, id plumbing.Hash, l Limits) (*tree, error) {
	s := r.open()
	defer s.Close()
	commit, err := commitOf(s, id)
	if err != nil {
		return nil, r.unread(id, err)
	}
	dir := filepath.Join(r.dir, "trees", id.String())
	if err := os.RemoveAll(dir); err != nil {
		return nil, fmt.Errorf("check out %s: %w", r.remote, err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("check out %s: %w", r.remote, err)
	}
	t := &tree{dir: dir, revision: revisionOf(id, commit)}
	if t.signed, err = signedCommit(s, commit); err != nil {
		return nil, r.unread(id, err)
	}
	w, err := newWriter(ctx, s, commit.TreeHash, dir, l)
	if err == nil {
		err = errors.Join(w.all(), w.Close())
		t.gaps, t.bytes = w.gaps, w.bytes+int64(w.files)*block
	}
	if err != nil {
		_ = os.RemoveAll(dir) // the next attempt removes it too
		return nil, r.unread(id, err)
	}
	return t, nil
}

func (r *repository) unread(id plumbing.Hash, err error) error {
	var failure *source.Failure
	if errors.As(err, &failure) || errors.Is(err, plumbing.ErrObjectNotFound) {
		return err
	}
	return fmt.Errorf("check out %s of %s: %w", source.ShortID(id.String()), r.remote, err)
}

// block is what a file takes on the disk beside its bytes, about.
const block = 4 << 10

// maxCommit is what a commit or a tag may say, in bytes.
const maxCommit = 1 << 20

// commitOf follows annotated tags, whose servers did not say what they are of.
func commitOf(s *filesystem.Storage, id plumbing.Hash) (*object.Commit, error) {
	for range 5 {
		o, err := s.EncodedObject(plumbing.AnyObject, id)
		if err != nil {
			return nil, err
		}
		if o.Size() > maxCommit {
			return nil, source.Refuse(source.TooLarge, "commit %s has a description of more than %d MiB", source.ShortID(id.String()), maxCommit>>20)
		}
		if o.Type() != plumbing.TagObject {
			break
		}
		tag, err := object.DecodeTag(s, o)
		if err != nil {
			return nil, err
		}
		id = tag.Target
	}
	commit, err := object.GetCommit(s, id)
	if err != nil {
		return nil, fmt.Errorf("read commit %s: %w", id, err)
	}
	return commit, nil
}

func revisionOf(id plumbing.Hash, c *object.Commit) source.Revision {
	author := c.Author.Name
	if c.Author.Email != "" {
		author += " <" + c.Author.Email + ">"
	}
	return source.Revision{ID: "sha1:" + id.String(), Author: source.Line(author), Message: source.Line(c.Message), Time: c.Committer.When}
}
