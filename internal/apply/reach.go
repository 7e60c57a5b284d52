package apply

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"k8s.io/client-go/rest"
)

// reach knows whether the member's API server answers. While it does not,
// work waits instead of failing thousandfold, and one probe asks for all.
type reach struct {
	clock func() time.Time

	mu    sync.Mutex
	since time.Time     // of the outage; zero when there is none
	back  chan struct{} // closed when the outage ends

	// changed is called without the lock held.
	changed func()
}

func newReach(clock func() time.Time, changed func()) *reach {
	return &reach{clock: clock, changed: changed}
}

// wrap watches every response for signs of life.
func (r *reach) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(req)
		if err != nil && req.Context().Err() == nil {
			r.lost()
		}
		return resp, err
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func (r *reach) lost() {
	r.mu.Lock()
	down := !r.since.IsZero()
	if !down {
		r.since, r.back = r.clock(), make(chan struct{})
	}
	r.mu.Unlock()
	if !down {
		r.changed()
	}
}

func (r *reach) found() {
	r.mu.Lock()
	down := !r.since.IsZero()
	if down {
		r.since = time.Time{}
		close(r.back)
	}
	r.mu.Unlock()
	if down {
		r.changed()
	}
}

// Since is when the outage began; false when there is none.
func (r *reach) Since() (time.Time, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.since, !r.since.IsZero()
}

// Wait returns when the API server answers, or with the context's error.
func (r *reach) Wait(ctx context.Context) error {
	r.mu.Lock()
	back := r.back
	down := !r.since.IsZero()
	r.mu.Unlock()
	if !down {
		return ctx.Err()
	}
	select {
	case <-back:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// probe asks for readiness during an outage until ctx ends. Readiness, not
// liveness: an API server that has not loaded its RBAC yet refuses everything.
func (r *reach) probe(ctx context.Context, client rest.Interface) {
	const poll, most = 100 * time.Millisecond, 3 * time.Second
	told := false // that the outage is longer than health is believed
	for failures := 0; ; {
		wait := poll
		if since, down := r.Since(); down {
			err := ready(ctx, client)
			if err == nil {
				failures, told = 0, false
				r.found()
			} else {
				wait = backoff(failures, poll, most)
				failures++
			}
			if err != nil && !told && r.clock().Sub(since) >= silence {
				told = true
				r.changed() // nothing else happens that would have it reported
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

func ready(ctx context.Context, client rest.Interface) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	body, err := client.Get().AbsPath("/readyz").DoRaw(ctx)
	if err != nil {
		return fmt.Errorf("ask the member's API server whether it is ready: %w", err)
	}
	if string(body) != "ok" {
		return errors.New("the member's API server is not ready")
	}
	return nil
}
