package depot

import (
	"context"
	"fmt"

	"atoll.dev/atoll/internal/content"
	"atoll.dev/atoll/internal/desired"
)

// Recover makes a content durable that an agent gave back, as it is: whatever
// applications ask for it are judged by their projects as ever. Its secret values
// are not in it; they stay with the agents that have them, and come again with
// the manifests.
func (d *Depot) Recover(ctx context.Context, project string, digest desired.Digest, data []byte) (Content, error) {
	if got := desired.Sum(data); got != digest {
		return Content{}, &Refused{Err: fmt.Errorf("the content given back is %s, not %s", got.Short(), digest.Short())}
	}
	b, err := content.Decode(data)
	if err != nil {
		return Content{}, &Refused{Err: fmt.Errorf("read content %s: %w", digest.Short(), err)}
	}
	store, err := d.store(project)
	if err != nil {
		return Content{}, err
	}
	if err := store.Put(ctx, digest, data); err != nil {
		return Content{}, fmt.Errorf("store content of project %s: %w", project, err)
	}
	return describe(b, data), nil
}
