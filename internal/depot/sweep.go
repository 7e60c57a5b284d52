package depot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/desired"
)

// Grace is how long content stays that nothing refers to: an upload comes
// before the application that uses it.
const Grace = 24 * time.Hour

// Sweep deletes content, and the values split from it, that used does not name
// and that was stored before the grace. It returns how many contents went.
func (d *Depot) Sweep(ctx context.Context, used func(project string, digest desired.Digest) bool, now time.Time) (int, error) {
	projects, err := os.ReadDir(d.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("sweep the content store: %w", err)
	}
	var swept int
	for _, p := range projects {
		n, err := d.sweepProject(ctx, p.Name(), used, now)
		swept += n
		if err != nil {
			return swept, fmt.Errorf("sweep the content of project %s: %w", p.Name(), err)
		}
	}
	return swept, nil
}

func (d *Depot) sweepProject(ctx context.Context, project string, used func(string, desired.Digest) bool, now time.Time) (int, error) {
	store, err := d.store(project)
	if err != nil {
		return 0, err
	}
	contents, err := store.List()
	if err != nil {
		return 0, err
	}
	var swept int
	for _, c := range contents {
		if now.Sub(c.Stored) < Grace || used(project, c.Digest) {
			continue
		}
		// The values first: a sweep cut short then finds the content again.
		if err := d.deleteValues(ctx, project, c.Digest); err != nil {
			return swept, err
		}
		if err := store.Delete(c.Digest); err != nil {
			return swept, err
		}
		swept++
	}
	return swept, nil
}

func (d *Depot) deleteValues(ctx context.Context, project string, digest desired.Digest) error {
	for part := 0; ; part++ {
		s := &corev1.Secret{}
		name := types.NamespacedName{Namespace: v1alpha1.SystemNamespace, Name: valuesName(project, digest, part)}
		if err := d.client.Get(ctx, name, s); err != nil {
			return client.IgnoreNotFound(err)
		}
		if err := d.client.Delete(ctx, s); client.IgnoreNotFound(err) != nil {
			return err
		}
	}
}
