// Package lease decides which of several agents of a member acts: the holder of
// a Lease in the member. It leaves to the agent what acting means.
//
// The Lease is used as client-go's leader election uses it: a holder renews
// within leaseDurationSeconds; another takes it when it has seen no renewal for
// that long by its own clock, for clocks of two machines are never compared;
// leaseTransitions counts the changes. Two rules differ, since an agent must
// not depend on an API that is away for a while:
//
//   - A holder that cannot renew does not end. It is in doubt: it writes nothing
//     before a renewal has told it that the Lease is still its own. When nobody
//     took it, it goes on where it was.
//   - A holder whose process is known to be gone, as one of the same machine or
//     pod, is succeeded at once: what is dead cannot act.
//
// A process that was halted between asking and writing may still send that one
// write. The local store refuses it by resourceVersion; an object that it
// applies is another version to the new holder's watch, and is put right.
//
// Sources: the Lease API's field descriptions (coordination.k8s.io/v1), and
// k8s.io/client-go/tools/leaderelection for what others make of them.
package lease

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	typed "k8s.io/client-go/kubernetes/typed/coordination/v1"
)

// Name of the Lease.
const Name = "atoll-agent"

const (
	// duration is how long a Lease counts without a renewal.
	duration = 15 * time.Second
	// renewEvery leaves room for two renewals that fail.
	renewEvery = 5 * time.Second
	// askEvery is how often one that waits looks.
	askEvery = time.Second
	// callTimeout bounds one call: a member that hangs is asked anew.
	callTimeout = 5 * time.Second
)

// ErrLost: another agent holds the Lease.
var ErrLost = errors.New("another agent of this cluster has taken over")

// Holder is one agent's view of the Lease. It is safe for concurrent use.
type Holder struct {
	leases typed.LeaseInterface
	me     string
	now    func() time.Time

	// asking is held while the member is asked: many writes in doubt ask once.
	asking sync.Mutex
	mu     sync.Mutex
	lease  *coordinationv1.Lease // as last written by us; nil when not held
	// until is when what we know of the Lease ceases to count.
	until time.Time
}

// New is an agent that does not hold the Lease yet; the process's identity
// makes each unique.
func New(leases typed.LeaseInterface, instance string) *Holder {
	return &Holder{leases: leases, me: identity(instance), now: time.Now}
}

// Acquire waits until the Lease is held. waiting is called whenever the reason
// for waiting is another one.
func (h *Holder) Acquire(ctx context.Context, waiting func(why string)) error {
	var watched observation
	said := ""
	for {
		why, err := h.try(ctx, &watched)
		switch {
		case err != nil:
			why = err.Error()
		case why == "":
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if why != said {
			waiting(why)
			said = why
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(askEvery):
		}
	}
}

// observation is since when another's Lease has not changed, by our clock.
type observation struct {
	version string
	since   time.Time
}

// try takes the Lease when it is free; otherwise it says why not.
func (h *Holder) try(ctx context.Context, watched *observation) (why string, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	asked := h.now()
	found, err := h.leases.Get(ctx, Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return "", h.write(ctx, &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: Name}}, asked)
	}
	if err != nil {
		return "", fmt.Errorf("read the lease %s: %w", Name, err)
	}
	if watched.version != found.ResourceVersion {
		*watched = observation{found.ResourceVersion, asked}
	}
	other := held(found)
	if other != "" && other != h.me && asked.Sub(watched.since) < lasts(found) && !gone(other) {
		return fmt.Sprintf("%s acts for this cluster", other), nil
	}
	return "", h.write(ctx, found, asked)
}

func held(l *coordinationv1.Lease) string {
	if l.Spec.HolderIdentity == nil {
		return ""
	}
	return *l.Spec.HolderIdentity
}

func lasts(l *coordinationv1.Lease) time.Duration {
	if l.Spec.LeaseDurationSeconds == nil {
		return duration
	}
	return time.Duration(*l.Spec.LeaseDurationSeconds) * time.Second
}

// write makes the Lease ours, or ours for longer. The resourceVersion that it
// was read with makes two writers one.
func (h *Holder) write(ctx context.Context, old *coordinationv1.Lease, asked time.Time) error {
	next := old.DeepCopy()
	now, seconds := metav1.NewMicroTime(asked), int32(duration/time.Second)
	if held(old) != h.me {
		transitions := int32(0)
		if old.Spec.LeaseTransitions != nil {
			transitions = *old.Spec.LeaseTransitions + 1
		}
		next.Spec.LeaseTransitions, next.Spec.AcquireTime = &transitions, &now
	}
	next.Spec.HolderIdentity, next.Spec.LeaseDurationSeconds, next.Spec.RenewTime = &h.me, &seconds, &now
	var written *coordinationv1.Lease
	var err error
	if old.ResourceVersion == "" {
		written, err = h.leases.Create(ctx, next, metav1.CreateOptions{})
	} else {
		written, err = h.leases.Update(ctx, next, metav1.UpdateOptions{})
	}
	if err != nil {
		return fmt.Errorf("write the lease %s: %w", Name, err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	// Counted from before the call: others count from when it arrived.
	h.lease, h.until = written, asked.Add(duration)
	return nil
}
