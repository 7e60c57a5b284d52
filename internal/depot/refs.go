package depot

import (
	"context"
	"sync"

	"atoll.dev/atoll/internal/desired"
)

// references remembers to which secret values contents refer: a content goes to
// every cluster of its application, and decoding it says the same each time.
type references struct {
	mu    sync.Mutex
	known map[referrer][]string
}

// referrer is a content, which belongs to a project.
type referrer struct {
	project string
	digest  desired.Digest
}

// maxReferrers bounds what is remembered; most refer to nothing.
const maxReferrers = 10_000

// refsOf are the references of a content, in order.
func (d *Depot) refsOf(ctx context.Context, project string, digest desired.Digest) ([]string, error) {
	key := referrer{project, digest}
	d.references.mu.Lock()
	refs, ok := d.references.known[key]
	d.references.mu.Unlock()
	if ok {
		return refs, nil
	}
	b, err := d.Bundle(ctx, project, digest)
	if err != nil {
		return nil, err
	}
	refs = b.Refs()
	d.references.mu.Lock()
	defer d.references.mu.Unlock()
	if d.references.known == nil || len(d.references.known) >= maxReferrers {
		d.references.known = map[referrer][]string{}
	}
	d.references.known[key] = refs
	return refs, nil
}
