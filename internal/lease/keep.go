package lease

import (
	"context"
	"fmt"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Keep renews the Lease until ctx ends, or another has taken it: ErrLost. A
// member that does not answer is asked again.
func (h *Holder) Keep(ctx context.Context) error {
	tick := time.NewTicker(renewEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := h.Confirm(ctx); err != nil && h.lost() {
			return err
		}
	}
}

func (h *Holder) lost() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.lease == nil
}

// Confirm renews now. Any error means that acting is not allowed now; after
// ErrLost it never is again.
func (h *Holder) Confirm(ctx context.Context) error {
	h.asking.Lock()
	defer h.asking.Unlock()
	return h.confirm(ctx)
}

// confirm is Confirm; h.asking is held.
func (h *Holder) confirm(ctx context.Context) error {
	h.mu.Lock()
	mine := h.lease
	h.mu.Unlock()
	if mine == nil {
		return ErrLost
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	err := h.write(ctx, mine, h.now())
	if !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
		return err
	}
	// Somebody wrote it: a person who annotated it, or a successor.
	asked := h.now()
	found, err := h.leases.Get(ctx, Name, metav1.GetOptions{})
	switch {
	case err == nil && held(found) == h.me:
		return h.write(ctx, found, asked)
	case err == nil || apierrors.IsNotFound(err):
		h.mu.Lock()
		h.lease = nil
		h.mu.Unlock()
		return ErrLost
	default:
		return fmt.Errorf("read the lease %s: %w", Name, err)
	}
}

// Check allows one write now. It asks the member only when in doubt.
func (h *Holder) Check(ctx context.Context) error {
	if h.sure() {
		return nil
	}
	h.asking.Lock()
	defer h.asking.Unlock()
	if h.sure() { // another write has asked meanwhile
		return nil
	}
	return h.confirm(ctx)
}

func (h *Holder) sure() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	// Round strips the monotonic reading: a machine that slept counts as late.
	now := h.now()
	return h.lease != nil && now.Before(h.until) && now.Round(0).Before(h.until.Round(0))
}

// Release lets the next one take over without waiting. What was in flight must
// have ended before.
func (h *Holder) Release(ctx context.Context) error {
	h.asking.Lock()
	defer h.asking.Unlock()
	h.mu.Lock()
	mine := h.lease
	h.lease = nil
	h.mu.Unlock()
	if mine == nil {
		return nil
	}
	none, now := "", metav1.NewMicroTime(h.now())
	mine = mine.DeepCopy()
	mine.Spec.HolderIdentity, mine.Spec.RenewTime = &none, &now
	if _, err := h.leases.Update(ctx, mine, metav1.UpdateOptions{}); err != nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
		return fmt.Errorf("release the lease %s: %w", Name, err)
	}
	return nil
}

// Gate lets through what changes nothing, and what changes something only while
// the Lease is held. It fits rest.Config.Wrap.
func (h *Holder) Gate(next http.RoundTripper) http.RoundTripper {
	return gate{h, next}
}

type gate struct {
	holder *Holder
	next   http.RoundTripper
}

func (g gate) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == http.MethodOptions {
		return g.next.RoundTrip(r)
	}
	if err := g.holder.Check(r.Context()); err != nil {
		if r.Body != nil {
			_ = r.Body.Close() // as a RoundTripper must
		}
		return nil, fmt.Errorf("not written, for it is not sure that this agent acts: %w", err)
	}
	return g.next.RoundTrip(r)
}
