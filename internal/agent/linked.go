package agent

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/link"
	"atoll.dev/atoll/internal/wire"
)

// Waits between dials: doubled after each failure, with a jitter of half, so
// that a fleet does not return to a restarted hub at once.
const (
	firstWait = 200 * time.Millisecond
	lastWait  = 30 * time.Second
)

// stayLinked joins, then keeps a link open until ctx ends.
func (a *agent) stayLinked(ctx context.Context) error {
	if err := a.trust.Join(ctx, a.Bootstrap.Token); err != nil {
		return err
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		if err := a.trust.RenewLoop(ctx); err != nil && ctx.Err() == nil {
			a.Log.Error("the agent's certificate is not renewed any more", "err", err)
		}
	})
	wait := firstWait
	for ctx.Err() == nil {
		began := time.Now()
		err := a.linkOnce(ctx)
		var refused *refusedError
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.As(err, &refused):
			a.Log.Warn("the hub refuses this agent", "reason", refused.Reason, "why", refused.Message)
			wait = max(time.Duration(refused.RetryAfterMillis)*time.Millisecond, lastWait)
		case time.Since(began) > lastWait:
			wait = firstWait
		default:
			a.Log.Info("no link to the hub", "err", err, "retryIn", wait)
		}
		if !sleep(ctx, wait/2+rand.N(wait/2+1)) {
			return nil
		}
		wait = min(2*wait, lastWait)
	}
	return nil
}

type refusedError struct{ wire.Refusal }

func (r *refusedError) Error() string { return r.Reason + ": " + r.Message }

// linkOnce keeps one link until it ends.
func (a *agent) linkOnce(ctx context.Context) error {
	s, err := link.Dial(ctx, link.DialConfig{
		Address:              a.Bootstrap.Address,
		Roots:                a.trust.Roots,
		GetClientCertificate: a.trust.GetClientCertificate,
	})
	if err != nil {
		return err
	}
	defer s.Close(nil)
	session := &session{agent: a, link: s}
	if err := session.open(ctx); err != nil {
		return err
	}
	a.Log.Info("linked to the hub", "hub", a.Bootstrap.Address, "term", session.stamp.Term)
	return session.run(ctx)
}

// session is one open link.
type session struct {
	agent *agent
	link  *link.Session
	// stamp is the hub's, from its Welcome; messages carry it back.
	stamp     wire.Stamp
	accepted  string
	heartbeat time.Duration
	parts     assembly
}

const welcomeTimeout = 15 * time.Second

func (s *session) open(ctx context.Context) error {
	a := s.agent
	seen, announced := a.memory.seen()
	a.reporter.reset()
	ctx, cancel := context.WithTimeout(ctx, welcomeTimeout)
	defer cancel()
	err := s.link.Send(ctx, wire.Message{Hello: &wire.Hello{
		Cluster:      a.Bootstrap.Cluster,
		AgentVersion: a.Version,
		MinVersion:   wire.MinVersion,
		MaxVersion:   wire.Version,
		ClusterUID:   a.uid,
		Instance:     a.instance,
		Seen:         seen,
		Desired:      announced,
	}})
	if err != nil {
		return err
	}
	m, err := s.link.Recv(ctx)
	switch {
	case err != nil:
		return err
	case m.Refusal != nil:
		return &refusedError{*m.Refusal}
	case m.Welcome == nil:
		return errors.New("the hub's first word is neither welcome nor refusal")
	}
	if err := m.Stamp.Obeys(seen); err != nil {
		return err
	}
	s.stamp, s.accepted = m.Stamp, m.Welcome.Accepted
	s.heartbeat = max(time.Duration(m.Welcome.HeartbeatMillis)*time.Millisecond, 100*time.Millisecond)
	s.parts.limit = maxContent
	return nil
}

func (s *session) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		err := s.speak(ctx)
		cancel(err)
		s.link.Close(err)
	})
	wg.Go(func() { s.agent.tunnel.serve(ctx, s.link) })
	err := s.listen(ctx)
	cancel(err)
	s.link.Close(err)
	return err
}

// silence is how many heartbeats may be missed before the link is given up.
const silence = 4

func (s *session) listen(ctx context.Context) error {
	for {
		quiet, cancel := context.WithTimeout(ctx, silence*s.heartbeat)
		m, err := s.link.Recv(quiet)
		cancel()
		if err != nil {
			return err
		}
		seen, _ := s.agent.memory.seen()
		if err := m.Stamp.Obeys(seen); err != nil {
			return err
		}
		if err := s.handle(ctx, m); err != nil {
			return err
		}
	}
}

func (s *session) handle(ctx context.Context, m wire.Message) error {
	a := s.agent
	switch {
	case m.Desired != nil:
		if err := a.memory.announce(m.Desired.Delta, m.Stamp, s.accepted); err != nil {
			a.Log.Warn("the hub's change does not fit; asking for the whole", "err", err)
			return s.send(ctx, wire.Message{Resend: &wire.Resend{Desired: true}})
		}
		return s.want(ctx)
	case m.Content != nil:
		done, err := s.parts.add(m.Content)
		if err != nil {
			a.Log.Warn("content cannot be used", "digest", m.Content.Digest, "err", err)
			a.memory.failed(m.Content.Digest, err)
			return nil
		}
		if done != nil {
			a.memory.keep(done.digest, done.data, done.values)
		}
	case m.Heartbeat != nil:
		_, announced := a.memory.seen()
		if m.Heartbeat.Desired != announced {
			return s.send(ctx, wire.Message{Resend: &wire.Resend{Desired: true}})
		}
		a.memory.confirm(m.Stamp)
		return s.want(ctx)
	case m.Resend != nil && m.Resend.Report:
		a.reporter.reset()
		a.memory.nudge()
	case m.Refusal != nil:
		return &refusedError{*m.Refusal}
	}
	return nil
}

// want asks for what is missing and not under way.
func (s *session) want(ctx context.Context) error {
	missing := s.parts.begin(s.agent.memory.missing())
	if len(missing) == 0 {
		return nil
	}
	return s.send(ctx, wire.Message{Want: &wire.Want{Contents: missing}})
}

// reportPause lets the changes of one moment become one report.
const reportPause = 50 * time.Millisecond

// speak sends reports when something changed, and heartbeats.
func (s *session) speak(ctx context.Context) error {
	tick := time.NewTicker(s.heartbeat)
	defer tick.Stop()
	facts := time.NewTimer(0)
	defer facts.Stop()
	var inventory *v1alpha1.Facts
	for {
		var err error
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-facts.C:
			if inventory, err = s.agent.facts(ctx); err != nil {
				s.agent.Log.Warn("the inventory cannot be read", "err", err)
			}
			facts.Reset(factsEvery)
			err = s.report(ctx, inventory)
		case <-s.agent.memory.changes():
			sleep(ctx, reportPause)
			err = s.report(ctx, inventory)
		case <-tick.C:
			err = s.beat(ctx)
		}
		if err != nil {
			return err
		}
	}
}

const factsEvery = time.Minute

func (s *session) report(ctx context.Context, facts *v1alpha1.Facts) error {
	r, ok := s.agent.reporter.next(s.agent.memory.states(), facts, time.Now())
	if !ok {
		return nil
	}
	return s.send(ctx, wire.Message{Report: &wire.Report{Report: r}})
}

func (s *session) beat(ctx context.Context) error {
	_, announced := s.agent.memory.seen()
	return s.send(ctx, wire.Message{Heartbeat: &wire.Heartbeat{
		Desired:  announced,
		Reported: s.agent.reporter.digest(),
		At:       time.Now().UnixMilli(),
	}})
}

func (s *session) send(ctx context.Context, m wire.Message) error {
	m.Stamp = s.stamp
	return s.link.Send(ctx, m)
}

// maxContent is the largest content an agent takes, in bytes: the hub refuses
// to store a larger one.
const maxContent = 80 << 20

// assembly puts the pieces of contents together.
type assembly struct {
	limit   int64
	pending map[desired.Digest]*assembled
}

type assembled struct {
	digest desired.Digest
	data   []byte
	values []wire.SealedValue
}

// begin returns those of the digests that are not under way, and notes them.
func (p *assembly) begin(missing []desired.Digest) []desired.Digest {
	if p.pending == nil {
		p.pending = map[desired.Digest]*assembled{}
	}
	var ask []desired.Digest
	for _, d := range missing {
		if p.pending[d] == nil {
			p.pending[d] = &assembled{digest: d}
			ask = append(ask, d)
		}
	}
	return ask
}

// add takes one piece and returns the content when it is whole and true.
func (p *assembly) add(c *wire.Content) (*assembled, error) {
	a := p.pending[c.Digest]
	switch {
	case a == nil:
		return nil, errors.New("the hub sends what was not asked for")
	case c.Missing != "":
		delete(p.pending, c.Digest)
		return nil, fmt.Errorf("the hub cannot deliver it: %s", c.Missing)
	case c.Size < 0 || c.Size > p.limit || c.Offset != int64(len(a.data)) || c.Offset+int64(len(c.Data)) > c.Size:
		delete(p.pending, c.Digest)
		return nil, errors.New("its pieces do not fit")
	}
	a.data = append(a.data, c.Data...)
	if int64(len(a.data)) < c.Size {
		return nil, nil
	}
	delete(p.pending, c.Digest)
	if got := desired.Sum(a.data); got != c.Digest {
		return nil, fmt.Errorf("its digest is %s", got.Short())
	}
	a.values = c.Values
	return a, nil
}
