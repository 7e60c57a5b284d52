package hub

import (
	"context"
	"net/http"
	"sync"
	"time"

	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// tenure is one time of this hub as leader, as its Lease grants it. client-go's
// elector alone would let a process that was frozen past its Lease act on for
// another renewDeadline, and would take a Lease that others held meanwhile for
// the one it had.
type tenure struct {
	resourcelock.Interface
	// lose ends what the leader does; it may be called more than once.
	lose func()

	mu      sync.Mutex
	renewed time.Time // when the request was sent that renewed last; zero before the first
	worked  bool      // what the leader did has ended, so the Lease may be given up
	over    bool
}

// Get notices that somebody else led since.
func (t *tenure) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, leaseTimeout)
	defer cancel()
	record, raw, err := t.Interface.Get(ctx)
	if err == nil && record.HolderIdentity != t.Identity() {
		t.endIfBegun()
	}
	return record, raw, err
}

// Create begins a tenure. A Lease that is gone in the midst of one is no reason
// to end it: had another made it anew, this would fail.
func (t *tenure) Create(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	return t.write(ctx, record, t.Interface.Create)
}

// Update begins a tenure, renews it or gives it up.
func (t *tenure) Update(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	return t.write(ctx, record, t.Interface.Update)
}

func (t *tenure) write(ctx context.Context, record resourcelock.LeaderElectionRecord, do func(context.Context, resourcelock.LeaderElectionRecord) error) error {
	mine := record.HolderIdentity == t.Identity()
	if !t.permits(mine) {
		return errLostLease
	}
	ctx, cancel := context.WithTimeout(ctx, leaseTimeout)
	defer cancel()
	// Before the request: others count from when they see its effect, so later.
	sent := time.Now()
	if err := do(ctx, record); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if mine {
		t.renewed = sent
	}
	return nil
}

// permits refuses to renew what is over, and to let another lead while the
// leader still works.
func (t *tenure) permits(renewal bool) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !t.over && (renewal || t.worked)
}

func (t *tenure) endIfBegun() {
	t.mu.Lock()
	begun := !t.renewed.IsZero()
	t.over = t.over || begun
	t.mu.Unlock()
	if begun {
		t.lose()
	}
}

// workEnded allows to give the Lease up.
func (t *tenure) workEnded() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.worked = true
}

// holds says that nobody else can lead yet, with time to spare for a write that
// begins now.
func (t *tenure) holds() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !t.over && !t.renewed.IsZero() && since(t.renewed) < renewDeadline
}

// since is the longer of what the two clocks say: the monotonic one stands still
// while a machine is suspended, and the other can be set back.
func since(t time.Time) time.Duration {
	now := time.Now()
	return max(now.Sub(t), now.Round(0).Sub(t.Round(0)))
}

// fence lets nothing be written that another leader's writes could meet.
func (t *tenure) fence(next http.RoundTripper) http.RoundTripper {
	return roundTrip(func(r *http.Request) (*http.Response, error) {
		reads := r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == http.MethodOptions
		if reads || t.holds() {
			return next.RoundTrip(r)
		}
		if r.Body != nil {
			_ = r.Body.Close() // as a RoundTripper must; nothing was read
		}
		return nil, errLostLease
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
