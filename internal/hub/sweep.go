package hub

import (
	"context"
	"fmt"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/assign"
	"atoll.dev/atoll/internal/clock"
	"atoll.dev/atoll/internal/desired"
)

// sweepEvery is how often old Revisions and unused content are looked for.
const sweepEvery = time.Hour

// keepSwept runs until ctx ends. Nothing waits for a sweep, so an error is
// logged and the next round tries again.
func (h *hub) keepSwept(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if n, err := h.sweep(ctx, clock.Now()); err != nil {
			h.Log.Warn("unused content was not swept", "err", err)
		} else if n > 0 {
			h.Log.Info("unused content swept", "contents", n)
		}
	}
}

// sweep drops Revisions beyond the history and then what nothing refers to.
func (h *hub) sweep(ctx context.Context, now time.Time) (int, error) {
	select {
	case <-h.book.Complete():
	default:
		return 0, nil // what is in use is not known yet
	}
	var apps v1alpha1.ApplicationList
	var revisions v1alpha1.RevisionList
	if err := h.mgr.GetClient().List(ctx, &apps); err != nil {
		return 0, fmt.Errorf("list applications: %w", err)
	}
	if err := h.mgr.GetClient().List(ctx, &revisions); err != nil {
		return 0, fmt.Errorf("list revisions: %w", err)
	}
	var runs v1alpha1.RolloutRunList
	if err := h.mgr.GetClient().List(ctx, &runs); err != nil {
		return 0, fmt.Errorf("list rollouts: %w", err)
	}
	outdated := assign.Outdated(apps.Items, revisions.Items, runs.Items)
	for i := range revisions.Items {
		r := &revisions.Items[i]
		if !outdated[client.ObjectKeyFromObject(r)] {
			continue
		}
		if err := h.live.Delete(ctx, r); client.IgnoreNotFound(err) != nil {
			return 0, fmt.Errorf("drop revision %s/%s: %w", r.Namespace, r.Name, err)
		}
	}
	used := assign.Used(apps.Items, revisions.Items, runs.Items, outdated)
	h.book.Contents(func(project string, content desired.Digest) {
		used[assign.Stored{Project: project, Digest: content}] = true
	})
	return h.depot.Sweep(ctx, func(project string, digest desired.Digest) bool {
		return used[assign.Stored{Project: project, Digest: digest}]
	}, now)
}
