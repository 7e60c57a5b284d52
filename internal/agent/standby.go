package agent

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"atoll.dev/atoll/internal/clock"
	"atoll.dev/atoll/internal/link"
	"atoll.dev/atoll/internal/trust"
	"atoll.dev/atoll/internal/wire"
)

// standbyRetry is how long a standby that cannot link waits.
const standbyRetry = 2 * time.Second

// standBy keeps a link to the hub while another agent of the member acts, with
// the identity that is stored there. Being welcomed proves that this one could
// act: only then is its pod ready, and the former one ended. The function it
// returns ends the link; until then the hub knows that one follows the other.
func (a *agent) standBy(ctx context.Context) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	var standing sync.WaitGroup
	member := a.member // a.member is another once this agent acts
	standing.Go(func() {
		said := ""
		for ctx.Err() == nil {
			err := a.standOnce(ctx, keys{member})
			a.Health.standsBy(false)
			if ctx.Err() == nil && err.Error() != said {
				said = err.Error()
				a.Log.Info("this agent stands by without a link to the hub", "why", err)
			}
			sleep(ctx, standbyRetry)
		}
	})
	return sync.OnceFunc(func() {
		cancel()
		standing.Wait()
	})
}

// borrowed is the stored identity, which an agent that does not act leaves as
// it is.
type borrowed struct{ keys }

var errNotJoined = errors.New("the agent that acts has not joined the hub yet")

func (borrowed) Save(context.Context, trust.Identity) error { return errNotJoined }

// standOnce returns an error always: why the link ended.
func (a *agent) standOnce(ctx context.Context, stored keys) error {
	identity, err := a.openTrust(ctx, borrowed{stored})
	if err != nil {
		return err
	}
	s, err := link.Dial(ctx, link.DialConfig{
		Address:              a.Bootstrap.Address,
		Roots:                identity.Roots,
		Now:                  clock.Now,
		ProxyURL:             a.Proxy,
		GetClientCertificate: identity.GetClientCertificate,
	})
	if err != nil {
		return err
	}
	defer s.Close(nil)
	welcome, err := greet(ctx, s, a.hello(wire.Hello{Standby: true}), func(wire.Upgrade) {}) // who acts sees to that
	if err != nil {
		return err
	}
	a.Log.Info("standing by, linked to the hub", "hub", a.Bootstrap.Address)
	a.Health.standsBy(true)
	return keepHeartbeats(ctx, s, welcome.Stamp, period(welcome.Welcome))
}

// keepHeartbeats answers each heartbeat with one, and gives a silent hub up.
func keepHeartbeats(ctx context.Context, s *link.Session, stamp wire.Stamp, every time.Duration) error {
	for {
		quiet, cancel := context.WithTimeout(ctx, silence*every)
		m, err := s.Recv(quiet)
		cancel()
		switch {
		case err != nil:
			return err
		case m.Refusal != nil:
			return &refusedError{*m.Refusal}
		}
		if err := s.Send(ctx, wire.Message{Stamp: stamp, Heartbeat: &wire.Heartbeat{At: clock.Now().UnixMilli()}}); err != nil {
			return fmt.Errorf("stand by: %w", err)
		}
	}
}
