package git

import (
	"context"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/storage/memory"
)

// Ancestry is how a commit came after another.
type Ancestry int

// What can be told of two commits.
const (
	// Unknown: the server tells no history by itself, or it is too long.
	Unknown Ancestry = iota
	// Descends: the later was built on the earlier.
	Descends
	// Rewritten: it was not, so history was replaced.
	Rewritten
)

// recent is how many commits back an earlier one is looked for.
const recent = 500

// Ancestry tells whether a branch that led to one commit and leads to another
// went on or was rewritten. Only commits are fetched for it, no files.
func (c *Cache) Ancestry(ctx context.Context, a Access, from, to string) (Ancestry, error) {
	ctx, cancel := context.WithTimeout(ctx, c.limits.List)
	defer cancel()
	w, err := open(ctx, a, c.dial)
	if err != nil {
		return Unknown, err
	}
	defer w.Close()
	adv, err := advertised(ctx, w, a.Remote, c.limits.Refs)
	if err != nil || !adv.Capabilities.Supports(capability.Filter) {
		return Unknown, err
	}
	pack, err := ask(ctx, w, adv, a.Remote, wish{commit: plumbing.NewHash(to), depth: recent, filter: packp.Filter("tree:0")})
	if err != nil {
		return Unknown, err
	}
	limits := c.limits
	limits.Pack, limits.Object, limits.Inflated = 8<<20, 1<<20, 32<<20
	f, err := receive(ctx, c.dir, pack, a.Remote, limits)
	if err != nil {
		return Unknown, err
	}
	defer discard(f)
	commits := memory.NewStorage()
	if err := packfile.UpdateObjectStorage(commits, f); err != nil {
		return Unknown, broken(a.Remote, err)
	}
	return descent(commits, plumbing.NewHash(from)), nil
}

func descent(commits *memory.Storage, from plumbing.Hash) Ancestry {
	if _, ok := commits.Commits[from]; ok {
		return Descends
	}
	for id := range commits.Commits {
		c, err := object.GetCommit(commits, id)
		if err != nil {
			return Unknown
		}
		for _, parent := range c.ParentHashes {
			if _, ok := commits.Commits[parent]; !ok {
				return Unknown // history goes on where it was cut off
			}
		}
	}
	return Rewritten
}
