package git

import (
	"context"
	"strings"
	"time"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/source"
)

// origin is a repository as one application follows it.
type origin struct {
	cache  *Cache
	access Access
	spec   v1alpha1.GitSource
}

// Open prepares a look; held is nil without a Secret.
func (c *Cache) Open(s v1alpha1.Source, held *source.Secret) (source.Origin, error) {
	remote, err := source.ParseRemote(s.Git.URL)
	if err != nil {
		return nil, source.Refuse(source.NoRepository, "spec.source.git.url: %w", err)
	}
	o := &origin{cache: c, access: Access{Remote: remote}, spec: *s.Git}
	if held != nil {
		o.access.Holder = held.Holder
		o.access.Credentials, err = ReadCredentials(remote, held.Name, held.Data)
	}
	return o, err
}

// scheme begins the IDs of commits.
const scheme = "sha1:"

func (o *origin) String() string { return o.access.Remote.String() }

// Find is source.Origin's.
func (o *origin) Find(ctx context.Context, since time.Time) (source.Found, error) {
	refs, err := o.cache.Refs(ctx, o.access, since)
	if err != nil {
		return source.Found{}, err
	}
	if len(refs) == 0 {
		return source.Found{}, source.Fail(source.SourceEmpty, "%s is empty: it has no branch and no tag", o)
	}
	chosen, err := refs.Choose(o.spec.Ref)
	if err != nil {
		return source.Found{}, source.Fail(source.RefNotFound, "%s: %w", o, err)
	}
	return source.Found{ID: scheme + chosen.ID, Ref: chosen.Ref}, nil
}

// Fetch is source.Origin's.
func (o *origin) Fetch(ctx context.Context, f source.Found) (source.Snapshot, func(), error) {
	folder, err := source.Folder(o.spec.Path)
	if err != nil {
		return source.Snapshot{}, nil, source.Refuse(source.SourceRefused, "spec.source.git.path: %w", err)
	}
	return o.cache.Fetch(ctx, o.access, source.Chosen{ID: bare(f.ID), Ref: f.Ref}, folder)
}

// Replaces is source.Origin's. Tags are versions, which follow each other in
// whatever way; and nobody waits for this knowledge, so that an error is a no.
func (o *origin) Replaces(ctx context.Context, before, now *v1alpha1.Commit) bool {
	if strings.HasPrefix(now.Ref, "refs/tags/") {
		return false
	}
	how, err := o.cache.Ancestry(ctx, o.access, bare(before.ID), bare(now.ID))
	return err == nil && how == Rewritten
}

func bare(id string) string { return strings.TrimPrefix(id, scheme) }
