package depot

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/blob"
	"atoll.dev/atoll/internal/desired"
)

// Grace is how long content stays that nothing refers to: an upload comes
// before the application that uses it.
const Grace = 24 * time.Hour

// Sweep deletes content, and the values split from it, that used does not name
// and that was stored before the grace. It returns how many contents went.
func (d *Depot) Sweep(ctx context.Context, used func(project string, digest desired.Digest) bool, now time.Time) (int, error) {
	projects, err := d.projects(ctx)
	if err != nil {
		return 0, err
	}
	var swept int
	for _, name := range projects {
		n, err := d.sweepProject(ctx, name, used, now)
		if swept += n; n > 0 {
			d.forgetOverlaid()
		}
		if err != nil {
			return swept, fmt.Errorf("sweep the content of project %s: %w", name, err)
		}
	}
	return swept, nil
}

// projects are those that exist, and those that are gone and left content: a
// storage need not be able to tell.
func (d *Depot) projects(ctx context.Context) ([]string, error) {
	names, err := d.kept.Projects(ctx)
	if err != nil {
		return nil, err
	}
	var existing v1alpha1.ProjectList
	if err := d.client.List(ctx, &existing); err != nil {
		return nil, fmt.Errorf("list projects: %w", err)
	}
	for i := range existing.Items {
		names = append(names, existing.Items[i].Name)
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

func (d *Depot) sweepProject(ctx context.Context, project string, used func(string, desired.Digest) bool, now time.Time) (int, error) {
	store, err := d.store(project)
	if err != nil {
		return 0, err
	}
	digests, err := store.Digests(ctx)
	if err != nil {
		return 0, err
	}
	var swept int
	for _, digest := range digests {
		if used(project, digest) {
			continue
		}
		stored, err := store.Stored(ctx, digest)
		if err != nil && !errors.Is(err, blob.ErrMissing) {
			return swept, err
		}
		if err != nil || now.Sub(stored) < Grace {
			continue
		}
		// The values first: a sweep cut short then finds the content again.
		if err := d.deleteValues(ctx, project, digest); err != nil {
			return swept, err
		}
		if err := store.Delete(ctx, digest); err != nil {
			return swept, err
		}
		swept++
	}
	return swept, nil
}

func (d *Depot) deleteValues(ctx context.Context, project string, digest desired.Digest) error {
	for part := 0; ; part++ {
		s := &corev1.Secret{}
		name := types.NamespacedName{Namespace: d.namespace, Name: valuesName(project, digest, part)}
		if err := d.client.Get(ctx, name, s); err != nil {
			return client.IgnoreNotFound(err)
		}
		if err := d.client.Delete(ctx, s); client.IgnoreNotFound(err) != nil {
			return err
		}
	}
}
