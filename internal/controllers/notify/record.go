package notify

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
)

const (
	// recordEvery is how often the status of a Project may be written.
	recordEvery = 2 * time.Second
	// seenAfter is how long a change may take to be seen here: what is younger may
	// be untold although nothing waits.
	seenAfter = 10 * time.Second
	// maxMessage is the length of a failure's words, in bytes.
	maxMessage = 512
	// manager is the field manager of what this loop writes.
	manager = "atoll-notify"
)

// keepRecord writes how deliveries go, and tells of drift, until ctx ends.
func (t *Teller) keepRecord(ctx context.Context) error {
	tick := time.NewTicker(recordEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		t.tellDrift(ctx)
		for project, status := range t.changed() {
			if err := t.write(ctx, project, status); err != nil && ctx.Err() == nil {
				t.Log.Warn("how the deliveries of a project's notifications go cannot be recorded", "project", project, "err", err)
				t.again(project)
			}
		}
	}
}

// changed are the statuses that are to be written.
func (t *Teller) changed() map[string][]v1alpha1.NotificationStatus {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := map[string][]v1alpha1.NotificationStatus{}
	settled := t.Now().Add(-seenAfter)
	for project, a := range t.projects {
		if !slices.ContainsFunc(slices.Collect(maps.Values(a.receivers)), func(r *receiver) bool { return r.dirty }) {
			continue
		}
		var status []v1alpha1.NotificationStatus
		for _, r := range a.receivers {
			status = append(status, r.status(settled))
			// Once more, when what was told now is old enough to be left behind.
			r.dirty = !r.latest.Before(settled)
		}
		slices.SortFunc(status, func(a, b v1alpha1.NotificationStatus) int { return cmp.Compare(a.Name, b.Name) })
		out[project] = status
	}
	return out
}

func (t *Teller) again(project string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if a := t.projects[project]; a != nil {
		for _, r := range a.receivers {
			r.dirty = true
		}
	}
}

func (r *receiver) status(settled time.Time) v1alpha1.NotificationStatus {
	until := r.queue.ToldUntil(settled)
	if since := r.route.Since(); r.queue.Len() == 0 && until.Before(since) {
		until = since // what was before is nobody's to tell
	}
	s := v1alpha1.NotificationStatus{
		Name: r.spec.Name, ToldUntil: metav1.NewTime(until), Pending: int32(r.queue.Len()),
		Dropped: r.queue.Dropped(), Failure: r.failure,
	}
	if !r.delivered.IsZero() {
		at := metav1.NewTime(r.delivered)
		s.Delivered = &at
	}
	return s
}

// write owns status.notify and nothing else of the Project.
func (t *Teller) write(ctx context.Context, project string, status []v1alpha1.NotificationStatus) error {
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&v1alpha1.ProjectStatus{Notify: status})
	if err != nil {
		return fmt.Errorf("encode status: %w", err)
	}
	u := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": v1alpha1.GroupVersion.String(), "kind": "Project",
		"metadata": map[string]any{"name": project}, "status": fields,
	}}
	err = t.Client.Status().Apply(ctx, client.ApplyConfigurationFromUnstructured(u), client.ForceOwnership, client.FieldOwner(manager))
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("write status of project %s: %w", project, err)
	}
	return nil
}

func clip(s string) string {
	if len(s) <= maxMessage {
		return strings.ToValidUTF8(s, "\uFFFD")
	}
	return strings.ToValidUTF8(s[:maxMessage], "") + "…"
}
