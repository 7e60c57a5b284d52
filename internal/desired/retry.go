package desired

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"atoll.dev/atoll/api/v1alpha1"
)

// Retry is what an application says of trying again what could not be applied.
type Retry struct {
	// Limit is how often; nil for without end.
	Limit *int32 `cbor:"1,keyasint,omitempty" json:"limit,omitempty"`
	// First is the first wait, Factor by how much each further one is longer, and
	// Most the longest; all are 0 where the application says nothing of waits.
	First  time.Duration `cbor:"2,keyasint,omitempty" json:"first,omitempty"`
	Factor int32         `cbor:"3,keyasint,omitempty" json:"factor,omitempty"`
	Most   time.Duration `cbor:"4,keyasint,omitempty" json:"most,omitempty"`
}

// The waits of a backoff that does not give them.
const (
	defaultFirst  = 5 * time.Second
	defaultFactor = 2
	defaultMost   = 3 * time.Minute
)

// RetryOf is nil where s says nothing of it.
func RetryOf(s *v1alpha1.Sync) *Retry {
	if s == nil || s.Retry == nil || s.Retry.Limit == nil && s.Retry.Backoff == nil {
		return nil
	}
	r := &Retry{Limit: s.Retry.Limit}
	b := s.Retry.Backoff
	if b == nil {
		return r
	}
	r.First, r.Factor, r.Most = defaultFirst, defaultFactor, defaultMost
	if b.Duration != nil {
		r.First = b.Duration.Duration
	}
	if b.Factor != nil {
		r.Factor = *b.Factor
	}
	r.Most = max(r.Most, r.First)
	if b.MaxDuration != nil {
		r.Most = b.MaxDuration.Duration
	}
	return r
}

// Sync is what an application says to have r.
func (r *Retry) Sync() *v1alpha1.Sync {
	if r == nil {
		return nil
	}
	retry := &v1alpha1.Retry{Limit: r.Limit}
	if r.waits() {
		retry.Backoff = &v1alpha1.Backoff{Duration: &metav1.Duration{Duration: r.First}, Factor: &r.Factor, MaxDuration: &metav1.Duration{Duration: r.Most}}
	}
	return &v1alpha1.Sync{Retry: retry}
}

// String is "at most 5 times, after 5s and then 2 times as long each time, up to 3m0s".
func (r *Retry) String() string {
	if r == nil {
		return ""
	}
	times := "without end"
	switch {
	case r.Limit == nil:
	case *r.Limit == 0:
		return "not at all"
	case *r.Limit == 1:
		times = "once"
	default:
		times = fmt.Sprintf("at most %d times", *r.Limit)
	}
	switch {
	case !r.waits():
		return times
	case r.Factor == 1 || r.Most <= r.First:
		return fmt.Sprintf("%s, %s after each failure", times, min(r.First, r.Most))
	}
	return fmt.Sprintf("%s, after %s and then %d times as long each time, up to %s", times, r.First, r.Factor, r.Most)
}

// waits tells whether the application says anything of waits.
func (r *Retry) waits() bool { return r != nil && r.First > 0 }

// Wait is how long to wait after so many failures before this one; false where
// the application says nothing of it.
func (r *Retry) Wait(failures int) (time.Duration, bool) {
	if !r.waits() {
		return 0, false
	}
	wait, factor := r.First, time.Duration(max(r.Factor, 1))
	if factor == 1 {
		return min(wait, r.Most), true
	}
	for range failures {
		if wait > r.Most/factor {
			return r.Most, true
		}
		wait *= factor
	}
	return min(wait, r.Most), true
}

// Spent tells whether after so many failures there is no other attempt.
func (r *Retry) Spent(failures int) bool {
	return r != nil && r.Limit != nil && failures > int(*r.Limit)
}
