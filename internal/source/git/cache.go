package git

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	"atoll.dev/atoll/internal/source"
	"atoll.dev/atoll/internal/source/web"
)

// Cache is safe for concurrent use. What is on the disk is nobody's only copy.
type Cache struct {
	dir    string
	dial   web.Dialer
	limits Limits
	now    func() time.Time

	mu    sync.Mutex
	repos map[string]*repository
}

// Open begins with an empty dir: what a hub has delivered needs no repository,
// and what was left half written by the one before must not be believed.
func Open(dir string, dial web.Dialer, limits Limits, now func() time.Time) (*Cache, error) {
	if err := os.RemoveAll(dir); err != nil {
		return nil, fmt.Errorf("empty the cache of repositories: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the cache of repositories: %w", err)
	}
	return &Cache{dir: dir, dial: dial, limits: limits, now: now, repos: map[string]*repository{}}, nil
}

// repo is the one of this access, which the caller must leave.
func (c *Cache) repo(a Access) *repository {
	sum := sha256.Sum256([]byte(a.Remote.String() + "\n" + a.Holder))
	key := hex.EncodeToString(sum[:16])
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.repos[key]
	if r == nil {
		r = newRepository(filepath.Join(c.dir, key), a.Remote)
		c.repos[key] = r
	}
	r.used, r.users = c.now(), r.users+1
	return r
}

func (c *Cache) leave(r *repository) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r.users--
}

// Refs is what the repository offers, as asked at since or later: however many
// applications follow it, they share the answer. So they do an error.
func (c *Cache) Refs(ctx context.Context, a Access, since time.Time) (source.Refs, error) {
	r := c.repo(a)
	defer c.trim()
	defer c.leave(r)
	if err := r.listing.Lock(ctx); err != nil {
		return nil, err
	}
	defer r.listing.Unlock()
	if !r.listed.IsZero() && !r.listed.Before(since) {
		return r.refs, r.refsErr
	}
	began := c.now()
	refs, err := c.list(ctx, a)
	if err == nil || context.Cause(ctx) == nil {
		r.refs, r.refsErr, r.listed = refs, err, began
		r.weight.Store(weight(refs))
	}
	return refs, err
}

func (c *Cache) list(ctx context.Context, a Access) (source.Refs, error) {
	ctx, cancel := context.WithTimeout(ctx, c.limits.List)
	defer cancel()
	w, err := open(ctx, a, c.dial)
	if err != nil {
		return nil, err
	}
	defer w.Close()
	adv, err := advertised(ctx, w, a.Remote, c.limits.Refs)
	if err != nil {
		return nil, err
	}
	return refs(adv), nil
}

// Fetch is a folder of a commit. The snapshot stays until release is called.
func (c *Cache) Fetch(ctx context.Context, a Access, chosen source.Chosen, folder string) (s source.Snapshot, release func(), err error) {
	r := c.repo(a)
	defer func() {
		if err != nil {
			c.leave(r)
		}
		c.trim()
	}()
	if err := r.fetching.Lock(ctx); err != nil {
		return source.Snapshot{}, nil, err
	}
	defer r.fetching.Unlock()
	t, err := c.tree(ctx, a, r, chosen.ID)
	if err != nil {
		return source.Snapshot{}, nil, err
	}
	if err := t.offers(folder); err != nil {
		return source.Snapshot{}, nil, err
	}
	t.users.Add(1)
	revision := t.revision
	revision.Ref = chosen.Ref
	return source.Snapshot{Dir: t.dir, Path: folder, Revision: revision}, func() {
		t.users.Add(-1)
		c.leave(r)
	}, nil
}

// tree is the checkout of a commit. What a shallow history lacks is found out
// by missing it; then the whole is fetched once more.
func (c *Cache) tree(ctx context.Context, a Access, r *repository, id string) (*tree, error) {
	if t := r.trees[id]; t != nil && t.there() {
		t.used = c.now()
		return t, nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.limits.Fetch)
	defer cancel()
	t, err := c.build(ctx, a, r, id)
	if errors.Is(err, plumbing.ErrObjectNotFound) && len(r.have) > 0 {
		if err := r.empty(); err != nil {
			return nil, err
		}
		t, err = c.build(ctx, a, r, id)
	}
	if err != nil {
		return nil, err
	}
	t.used = c.now()
	r.keep(t)
	return t, nil
}

func (c *Cache) build(ctx context.Context, a Access, r *repository, id string) (*tree, error) {
	if len(r.have) >= maxPacks || onDisk(r.objects()) > c.limits.Pack {
		if err := r.empty(); err != nil {
			return nil, err
		}
	}
	commit := plumbing.NewHash(id)
	if !slices.Contains(r.have, commit) {
		if err := c.bring(ctx, a, r, commit); err != nil {
			return nil, err
		}
	}
	return r.checkout(ctx, commit, c.limits)
}

// bring adds a commit to what is here; beside what is here already it is small.
func (c *Cache) bring(ctx context.Context, a Access, r *repository, commit plumbing.Hash) error {
	w, err := open(ctx, a, c.dial)
	if err != nil {
		return err
	}
	defer w.Close()
	adv, err := advertised(ctx, w, a.Remote, c.limits.Refs)
	if err != nil {
		return err
	}
	pack, err := ask(ctx, w, adv, a.Remote, wish{commit: commit, have: slices.Clone(r.have), depth: 1})
	if err != nil {
		return err
	}
	f, err := receive(ctx, c.dir, pack, a.Remote, c.limits)
	if err != nil {
		return err
	}
	defer discard(f)
	defer r.weigh()
	if err := r.add(f); err != nil {
		return err
	}
	r.have = append(r.have, commit)
	return nil
}

// trim removes what was not used for the longest, and is not in use.
func (c *Cache) trim() {
	c.mu.Lock()
	defer c.mu.Unlock()
	var size, listed int64
	for _, r := range c.repos {
		size += r.size.Load()
		listed += r.weight.Load()
	}
	keys := slices.SortedFunc(maps.Keys(c.repos), func(a, b string) int { return c.repos[a].used.Compare(c.repos[b].used) })
	for _, key := range keys {
		few := len(c.repos) <= c.limits.Repositories && size <= c.limits.Disk
		if few && listed <= c.limits.Listed {
			return
		}
		r := c.repos[key]
		if listed > c.limits.Listed {
			listed -= r.weight.Load()
			r.forget()
		}
		if few || r.users > 0 || os.RemoveAll(r.dir) != nil {
			continue // what could not be removed is tried again
		}
		size -= r.size.Load()
		listed -= r.weight.Load()
		delete(c.repos, key)
	}
}
