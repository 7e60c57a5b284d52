package depot

import (
	"context"
	"fmt"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/content"
	"atoll.dev/atoll/internal/desired"
)

// unsaved is content that was given out before it was durable.
type unsaved struct {
	digest desired.Digest
	data   []byte
}

// mayLend tells whether content can be given out before it is durable: it is made
// of what lies in the hub's store, and a hub that dies makes the same of it again.
// A rollout keeps versions that the application has left behind, and beside a pin
// what the source says is recorded for a later day; those must be durable first.
func mayLend(app *v1alpha1.Application) bool {
	return app.Spec.Rollout == nil && app.Status.Rollout == "" && len(app.Spec.Pins) == 0
}

// lend gives content out until Settle has made it durable. An application has one
// at a time: what it says later takes the place of what it said.
func (d *Depot) lend(key desired.Key, parsed content.Parsed) Content {
	data := parsed.Bundle.Encode()
	c := describe(parsed.Bundle, data)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.unsaved == nil {
		d.unsaved = map[desired.Key]unsaved{}
	}
	d.unsaved[key] = unsaved{c.Digest, data}
	return c
}

// lent finds content that is given out and not durable yet.
func (d *Depot) lent(project string, digest desired.Digest) ([]byte, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for key, u := range d.unsaved { // of the moment, or of a disk that is full
		if key.Project == project && u.digest == digest {
			return u.data, true
		}
	}
	return nil, false
}

// Settle makes durable what Admit gave out for the application. Until it has, no
// record may name the content; while it cannot, the content is given out on.
func (d *Depot) Settle(ctx context.Context, app *v1alpha1.Application) error {
	key := desired.Key{Project: app.Namespace, Application: app.Name}
	d.mu.Lock()
	u, waits := d.unsaved[key]
	d.mu.Unlock()
	if !waits {
		return nil
	}
	store, err := d.store(key.Project)
	if err == nil {
		err = store.Put(ctx, u.digest, u.data)
	}
	if err != nil {
		return fmt.Errorf("store content %s of application %s: %w", u.digest.Short(), key, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.unsaved[key].digest == u.digest {
		delete(d.unsaved, key)
	}
	return nil
}
