package agent

import (
	"context"
	"errors"
	"sync"
	"time"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/clock"
	"atoll.dev/atoll/internal/link"
	"atoll.dev/atoll/internal/wire"
)

// session is one open link.
type session struct {
	agent *agent
	link  *link.Session
	// stamp is the hub's, from its Welcome; messages carry it back.
	stamp     wire.Stamp
	accepted  string
	heartbeat time.Duration
	parts     assembly
	// inventory delivers the facts: reading them may take long, and neither
	// heartbeats nor reports wait for it.
	inventory chan *v1alpha1.Facts
}

func newSession(a *agent, l *link.Session) *session {
	return &session{agent: a, link: l, parts: assembly{limit: maxContent}, inventory: make(chan *v1alpha1.Facts, 1)}
}

const welcomeTimeout = 15 * time.Second

func (s *session) open(ctx context.Context) error {
	a := s.agent
	seen, announced := a.memory.seen()
	a.reporter.reset()
	m, err := greet(ctx, s.link, a.hello(wire.Hello{Seen: seen, Desired: announced}), a.upgrader.wish)
	if err != nil {
		return err
	}
	if err := m.Stamp.Obeys(seen); err != nil {
		return err
	}
	s.stamp, s.accepted, s.heartbeat = m.Stamp, m.Welcome.Accepted, period(m.Welcome)
	return nil
}

// hello is h with who speaks.
func (a *agent) hello(h wire.Hello) *wire.Hello {
	h.Cluster, h.ClusterUID = a.Bootstrap.Cluster, a.uid
	h.AgentVersion, h.Instance = a.Version, a.instance
	h.MinVersion, h.MaxVersion = wire.MinVersion, wire.Version
	return &h
}

// greet opens a link and returns the hub's Welcome. A hub that will not lead this
// agent may name the one that it would.
func greet(ctx context.Context, l *link.Session, hello *wire.Hello, wished func(wire.Upgrade)) (wire.Message, error) {
	ctx, cancel := context.WithTimeout(ctx, welcomeTimeout)
	defer cancel()
	if err := l.Send(ctx, wire.Message{Hello: hello}); err != nil {
		return wire.Message{}, err
	}
	m, err := l.Recv(ctx)
	for err == nil && m.Upgrade != nil {
		wished(*m.Upgrade)
		m, err = l.Recv(ctx)
	}
	switch {
	case err != nil:
		return wire.Message{}, err
	case m.Refusal != nil:
		return wire.Message{}, &refusedError{*m.Refusal}
	case m.Welcome == nil:
		return wire.Message{}, errors.New("the hub's first word is neither welcome nor refusal")
	}
	return m, nil
}

// period is that of heartbeats both ways.
func period(w *wire.Welcome) time.Duration {
	return max(time.Duration(w.HeartbeatMillis)*time.Millisecond, 100*time.Millisecond)
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
	wg.Go(func() { s.survey(ctx) })
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
		if err := a.memory.announce(m.Desired.Delta, m.Stamp, s.accepted, m.Desired.Contents...); err != nil {
			a.Log.Warn("the hub's change does not fit; asking for the whole", "err", err)
			return s.send(ctx, wire.Message{Resend: &wire.Resend{Desired: true}})
		}
		return s.want(ctx)
	case m.Content != nil:
		s.take(m.Content)
	case m.Heartbeat != nil:
		return s.compare(ctx, m)
	case m.Resend != nil && m.Resend.Report:
		a.reporter.reset()
		a.memory.nudge()
	case m.Upgrade != nil:
		a.upgrader.wish(*m.Upgrade)
	case m.Refusal != nil:
		return &refusedError{*m.Refusal}
	}
	return nil
}

// take adds a piece of content.
func (s *session) take(c *wire.Content) {
	memory := s.agent.memory
	done, err := s.parts.add(c)
	if err == nil && done != nil {
		err = memory.keep(done)
	}
	switch {
	case errors.Is(err, errUnasked):
		// Not remembered: a hub could fill the agent's memory with digests.
		s.agent.Log.Debug("content was dropped", "digest", c.Digest.Short(), "err", err)
	case err != nil:
		s.agent.Log.Warn("content cannot be used", "digest", c.Digest.Short(), "err", err)
		memory.failed(c.Digest, err)
	}
}

// compare holds a heartbeat against what was announced. A hub that has just
// started names no digest: it does not know yet what it wants.
func (s *session) compare(ctx context.Context, m wire.Message) error {
	memory := s.agent.memory
	_, announced := memory.seen()
	switch m.Heartbeat.Desired {
	case "":
		return nil
	case announced:
		memory.confirm(m.Stamp, s.accepted)
		return s.want(ctx)
	}
	return s.send(ctx, wire.Message{Resend: &wire.Resend{Desired: true}})
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

// speak sends the whole report, then what changed, and heartbeats.
func (s *session) speak(ctx context.Context) error {
	tick := time.NewTicker(s.heartbeat)
	defer tick.Stop()
	var facts *v1alpha1.Facts
	err := s.report(ctx, facts)
	for err == nil {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case facts = <-s.inventory:
			err = s.report(ctx, facts)
		case <-s.agent.memory.changes():
			sleep(ctx, reportPause)
			err = s.report(ctx, facts)
		case <-tick.C:
			err = s.beat(ctx)
		}
	}
	return err
}

const factsEvery = time.Minute

// survey reads the member's inventory from time to time, and when the agent has
// something to say of itself.
func (s *session) survey(ctx context.Context) {
	for ctx.Err() == nil {
		facts, err := s.agent.facts(ctx)
		if err != nil {
			if ctx.Err() == nil {
				s.agent.Log.Warn("the inventory cannot be read", "err", err)
			}
		} else {
			select {
			case s.inventory <- facts:
			case <-ctx.Done():
			}
		}
		again := time.NewTimer(factsEvery)
		select {
		case <-ctx.Done():
		case <-again.C:
		case <-s.agent.upgrader.changed:
		}
		again.Stop()
	}
}

func (s *session) report(ctx context.Context, facts *v1alpha1.Facts) error {
	states := s.agent.memory.states()
	for {
		r, ok := s.agent.reporter.next(states, facts, clock.Now())
		if !ok {
			return nil
		}
		if err := s.send(ctx, wire.Message{Report: &wire.Report{Report: r}}); err != nil {
			return err
		}
	}
}

func (s *session) beat(ctx context.Context) error {
	_, announced := s.agent.memory.seen()
	return s.send(ctx, wire.Message{Heartbeat: &wire.Heartbeat{
		Desired:  announced,
		Reported: s.agent.reporter.digest(),
		At:       clock.Now().UnixMilli(),
	}})
}

func (s *session) send(ctx context.Context, m wire.Message) error {
	m.Stamp = s.stamp
	return s.link.Send(ctx, m)
}
