package application

import (
	"context"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/desired"
)

// maxBeside is how many applications may have a record under way beside their next
// look: what waits is held in memory, and a store that cannot keep up must slow the
// looks down.
const maxBeside = 64

// besides are records that are written while the next look at their application
// has begun: a change that follows at once does not wait until the one before it
// has been written down. Of an application one is written at a time, and of what
// waits only the last: it says all that those before it would have said.
// The zero value is ready to use.
type besides struct {
	mu   sync.Mutex
	idle *sync.Cond // something was written
	due  map[types.NamespacedName]*errand
	// failed are those whose next record is waited for, so that a store that takes
	// nothing is asked again ever more rarely.
	failed map[types.NamespacedName]bool
	// told is what the last one says of an application, until the cache shows it.
	told map[types.NamespacedName]told
}

// told is the revision that an application was given.
type told struct {
	uid      types.UID
	revision string
}

// errand is what is being written for an application, and what follows.
type errand struct{ next func() error }

// put has do run after what runs for the application, in place of what waits; it
// returns false when too many are under way, or one failed. Again is called when
// the last one fails.
func (b *besides) put(name types.NamespacedName, do func() error, again func(types.NamespacedName)) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failed[name] {
		return false
	}
	if e := b.due[name]; e != nil {
		e.next = do
		return true
	}
	if len(b.due) >= maxBeside {
		return false
	}
	if b.due == nil {
		b.due, b.failed, b.idle = map[types.NamespacedName]*errand{}, map[types.NamespacedName]bool{}, sync.NewCond(&b.mu)
	}
	b.due[name] = &errand{next: do}
	go b.run(name, again)
	return true
}

func (b *besides) run(name types.NamespacedName, again func(types.NamespacedName)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.due[name]
	for e.next != nil {
		do := e.next
		e.next = nil
		b.mu.Unlock()
		err := do()
		b.mu.Lock()
		if err != nil && e.next == nil {
			b.failed[name] = true
			delete(b.told, name)
			again(name)
		}
	}
	delete(b.due, name)
	b.idle.Broadcast()
}

// settled returns once nothing is written for the application, and nothing waits
// to be: what the caller is about to write may say less.
func (b *besides) settled(name types.NamespacedName) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.due[name] != nil {
		b.idle.Wait()
	}
}

// mended tells that something was written that is not beside, or that nothing is
// wanted any more.
func (b *besides) mended(name types.NamespacedName) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.failed, name)
	delete(b.told, name)
}

// says notes what the next record says.
func (b *besides) says(name types.NamespacedName, t told) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.told == nil {
		b.told = map[types.NamespacedName]told{}
	}
	b.told[name] = t
}

// ahead is an application of the cache with the revision that is recorded beside: by
// the one before, a refused source or a freeze would have clusters go back.
func (b *besides) ahead(app *v1alpha1.Application) *v1alpha1.Application {
	b.mu.Lock()
	defer b.mu.Unlock()
	name := client.ObjectKeyFromObject(app)
	switch t, ok := b.told[name]; {
	case !ok:
	case t.uid != app.UID, t.revision == app.Status.Revision:
		delete(b.told, name)
	default:
		app = app.DeepCopy()
		app.Status.Revision, app.Status.Variants = t.revision, nil
	}
	return app
}

// count is how many applications have something under way.
func (b *besides) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.due)
}

// recordBeside writes what was decided beside the next look where that is nothing
// but another content for the same clusters, made of what the hub's store has; it
// returns false where it is more. A hub that dies before it is written decides the
// same again.
func (r *Intent) recordBeside(ctx context.Context, app *v1alpha1.Application, c course) bool {
	if !onlyContent(app, c) {
		return false
	}
	settle := r.Depot.Lent(app)
	if settle == nil {
		return false
	}
	name := client.ObjectKeyFromObject(app)
	r.beside.says(name, told{app.UID, desired.RevisionName(app.Name, c.admitted.Digest)})
	put := r.beside.put(name, func() error {
		if err := settle(ctx); err != nil {
			return err
		}
		return r.write(ctx, app, c)
	}, r.Again)
	if !put {
		r.beside.says(name, told{}) // of no application
	}
	return put
}

// onlyContent tells that nothing changes for the application but what its present
// clusters run.
func onlyContent(app *v1alpha1.Application, c course) bool {
	p := c.plan
	return !p.Done && !p.Keep && p.Accepted.True && c.run == nil && !c.early && c.frozen == nil && !c.waits && c.admitted.Digest != "" &&
		len(p.Variants)+len(p.Withdrawing)+len(app.Status.Withdrawing) == 0 && slices.Equal(p.Clusters, app.Status.Clusters)
}
