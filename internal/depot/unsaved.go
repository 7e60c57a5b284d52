package depot

import (
	"context"
	"fmt"
	"slices"

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

// maxUnsaved is how many contents of an application are given out while none of
// them can be stored: what was said before these, no agent asks for any more.
const maxUnsaved = 4

// lend gives content out until it was settled.
func (d *Depot) lend(key desired.Key, parsed content.Parsed) Content {
	data := parsed.Bundle.Encode()
	c := describe(parsed.Bundle, data)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.unsaved == nil {
		d.unsaved = map[desired.Key][]unsaved{}
	}
	lent := append(d.unsaved[key], unsaved{c.Digest, data})
	d.unsaved[key] = slices.Delete(lent, 0, max(0, len(lent)-maxUnsaved))
	return c
}

// lent finds content that is given out and not durable yet.
func (d *Depot) lent(project string, digest desired.Digest) ([]byte, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for key, all := range d.unsaved { // of the moment, or of a disk that is full
		if key.Project != project {
			continue
		}
		if i := slices.IndexFunc(all, func(u unsaved) bool { return u.digest == digest }); i >= 0 {
			return all[i].data, true
		}
	}
	return nil, false
}

// Settle makes durable what Admit gave out last for the application. Until it has,
// no record may name the content; while it cannot, the content is given out on.
func (d *Depot) Settle(ctx context.Context, app *v1alpha1.Application) error {
	if settle := d.Lent(app); settle != nil {
		return settle(ctx)
	}
	return nil
}

// Lent is what Settle would do now, whatever is admitted later; nil if what was
// admitted last is durable.
func (d *Depot) Lent(app *v1alpha1.Application) func(context.Context) error {
	key := desired.Key{Project: app.Namespace, Application: app.Name}
	d.mu.Lock()
	defer d.mu.Unlock()
	all := d.unsaved[key]
	if len(all) == 0 {
		return nil
	}
	u := all[len(all)-1]
	return func(ctx context.Context) error { return d.settle(ctx, key, u) }
}

// settle stores u, after which neither it nor what the application said before it
// is given out from memory.
func (d *Depot) settle(ctx context.Context, key desired.Key, u unsaved) error {
	store, err := d.store(key.Project)
	if err == nil {
		err = store.Put(ctx, u.digest, u.data)
	}
	if err != nil {
		return fmt.Errorf("store content %s of application %s: %w", u.digest.Short(), key, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	all := d.unsaved[key]
	i := slices.IndexFunc(all, func(o unsaved) bool { return o.digest == u.digest })
	if all = slices.Delete(all, 0, i+1); len(all) > 0 {
		d.unsaved[key] = all
	} else {
		delete(d.unsaved, key)
	}
	return nil
}
