package agent

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"atoll.dev/atoll/internal/clock"
	"atoll.dev/atoll/internal/link"
	"atoll.dev/atoll/internal/trust"
	"atoll.dev/atoll/internal/wire"
)

// Waits between dials: doubled after each failure, with a jitter of half, so
// that a fleet does not return to a restarted hub at once.
const (
	firstWait = 200 * time.Millisecond
	// lastWait bounds how long a hub waits for its fleet after a long outage.
	lastWait = 10 * time.Second
	// refusedWait is the rest after a refusal that no waiting mends.
	refusedWait = 30 * time.Second
	// showPause is between the renewals of an agent that waits for a person.
	showPause = time.Minute
	// settled is how long a link must have lasted for the next dial to come
	// soon: two agents with one identity, each of which ends the other's link,
	// must not do so all the time.
	settled = time.Second
)

// stayLinked joins, then keeps a link open until ctx ends.
func (a *agent) stayLinked(ctx context.Context) error {
	if err := a.join(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		if err := a.trust.RenewLoop(ctx); ctx.Err() == nil {
			a.Log.Error("the agent's certificate is not renewed any more", "err", err)
		}
	})
	wait, shown := firstWait, time.Time{}
	for ctx.Err() == nil {
		lasted, err := a.linkOnce(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if waitsForAPerson(err) && time.Since(shown) > showPause {
			shown = time.Now()
			a.showItself(ctx)
		}
		if lasted > settled {
			wait = firstWait
		}
		pause := a.pauseAfter(err, wait)
		if !sleep(ctx, pause/2+rand.N(pause/2+1)) {
			return nil
		}
		wait = min(2*wait, lastWait)
	}
	return nil
}

// waitsForAPerson tells that a link was refused until somebody has decided.
func waitsForAPerson(err error) bool {
	refused, ok := errors.AsType[*refusedError](err)
	return ok && refused.Reason == string(trust.NotAccepted)
}

// showItself renews, early: a hub that lost its records learns by it whom there is
// to decide about, and the key that values are sealed to.
func (a *agent) showItself(ctx context.Context) {
	if err := a.trust.Renew(ctx); err != nil {
		a.Log.Debug("the hub renews no certificate for now", "err", err)
	}
}

// join waits until the hub has enrolled this agent. A refusal ends an agent
// that has nothing to do yet; one that was told before goes on enforcing it:
// losing its identity must not cost the workloads their keeper.
func (a *agent) join(ctx context.Context) error {
	err := a.trust.Join(ctx, a.Bootstrap.Token)
	var refused *trust.Refused
	if err == nil || ctx.Err() != nil || !errors.As(err, &refused) || !a.memory.enforcing() {
		return err
	}
	a.Log.Error("the hub does not enrol this agent; what it asked for before is kept, and nothing new arrives", "err", err)
	<-ctx.Done()
	return nil
}

// pauseAfter says how long to wait after a link ended, and logs why it did.
func (a *agent) pauseAfter(err error, wait time.Duration) time.Duration {
	var refused *refusedError
	if !errors.As(err, &refused) {
		a.Log.Info("no link to the hub", "err", err, "retryIn", wait)
		return wait
	}
	a.Log.Warn("the hub refuses this agent", "reason", refused.Reason, "why", refused.Message)
	if refused.RetryAfterMillis > 0 {
		return time.Duration(refused.RetryAfterMillis) * time.Millisecond
	}
	return refusedWait
}

type refusedError struct{ wire.Refusal }

func (r *refusedError) Error() string { return r.Reason + ": " + r.Message }

// linkOnce keeps one link until it ends, and returns how long the hub had it.
func (a *agent) linkOnce(ctx context.Context) (lasted time.Duration, err error) {
	if err := a.trust.RenewExpired(ctx); err != nil {
		if refused, ok := errors.AsType[*trust.Refused](err); ok {
			return 0, &refusedError{refused.Refusal()}
		}
		return 0, err
	}
	s, err := link.Dial(ctx, link.DialConfig{
		Address:              a.Bootstrap.Address,
		Roots:                a.trust.Roots,
		Now:                  clock.Now,
		ProxyURL:             a.Proxy,
		GetClientCertificate: a.trust.GetClientCertificate,
	})
	if err != nil {
		return 0, err
	}
	defer s.Close(nil)
	session := newSession(a, s)
	if err := session.open(ctx); err != nil {
		return 0, err
	}
	a.endStandby()
	began := time.Now()
	a.Log.Info("linked to the hub", "hub", a.Bootstrap.Address, "term", session.stamp.Term)
	err = session.run(ctx)
	return time.Since(began), err
}
