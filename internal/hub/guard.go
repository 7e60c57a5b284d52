package hub

import (
	"maps"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/apiserver"
)

// unguarded has the deletions of applications wait that shall take their objects
// with them and have only just been told so: without the finalizer, which the
// intent loop is about to set, they would be gone, and their objects would stay.
//
// An API server decides by the object that it read first whether a finalizer
// keeps it, and then has a deletion judged by what is stored, twice if need be.
// A finalizer that comes in between would let it pass and keep nothing. So one
// that had to wait once waits for a moment, whatever its object looks like by
// then; the zero value is ready.
type unguarded struct {
	mu   sync.Mutex
	seen map[types.UID]time.Time
}

// A client is told to come again after a second; the judgements of one request
// come within moments.
const (
	comeAgain = 1 * time.Second
	moment    = 900 * time.Millisecond
)

// judge answers 429, which clients repeat by themselves.
func (u *unguarded) judge(w apiserver.Write, now time.Time) error {
	app := &v1alpha1.Application{}
	if w.Kind.Kind != "Application" || w.Old == nil || runtime.DefaultUnstructuredConverter.FromUnstructured(w.Old.Object, app) != nil {
		return nil
	}
	if app.Spec.OnDelete != v1alpha1.Delete || app.DeletionTimestamp != nil {
		return nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	maps.DeleteFunc(u.seen, func(_ types.UID, at time.Time) bool { return now.Sub(at) > moment || at.After(now) })
	placed := len(app.Status.Clusters)+len(app.Status.Withdrawing) > 0
	if placed && !slices.Contains(app.Finalizers, v1alpha1.FinalizerWithdraw) {
		if u.seen == nil {
			u.seen = map[types.UID]time.Time{}
		}
		u.seen[app.UID] = now
	}
	if _, waits := u.seen[app.UID]; !waits {
		return nil
	}
	return apierrors.NewTooManyRequests("the hub is about to take note of onDelete: Delete; delete it again in a second", int(comeAgain.Seconds()))
}
