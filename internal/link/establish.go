package link

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"

	"atoll.dev/atoll/internal/wire"
)

// busyRetryMillis is when an agent may come back to a hub that is full or
// cannot look it up.
const busyRetryMillis = 15_000

// refuser is an error that an agent may read.
type refuser interface {
	error
	Refusal() wire.Refusal
}

// establish makes a session of a connection whose certificate the roots
// verified: the agent opens the control stream, then its certificate is looked
// up. A refusal is said on that stream, for a TLS alert could not say why.
func (l *Listener) establish(ctx context.Context, conn *tls.Conn) (*Session, error) {
	m, err := newHubMux(conn)
	if err != nil {
		return nil, err
	}
	control, err := m.accept(ctx)
	if err != nil {
		_ = m.Close()
		return nil, fmt.Errorf("wait for the control stream: %w", err)
	}
	s := newSession(m, control, conn, l.cfg.Limits.Streams)
	if err := m.refuseStreams(); err != nil {
		s.Close(err)
		return nil, fmt.Errorf("close the link to further streams: %w", err)
	}
	if err := l.verify(ctx, s); err != nil {
		_ = s.Refuse(ctx, l.stamp(), refusalOf(err)) // the agent may be gone already
		return nil, err
	}
	return s, nil
}

func (l *Listener) verify(ctx context.Context, s *Session) error {
	if l.Sessions() >= l.cfg.Limits.Sessions {
		return fmt.Errorf("this hub carries %d links, its limit", l.cfg.Limits.Sessions)
	}
	if l.cfg.VerifyPeer == nil {
		return nil
	}
	if err := l.cfg.VerifyPeer(ctx, s.Peer()); err != nil {
		return fmt.Errorf("agent %q: %w", s.Peer().Subject.CommonName, err)
	}
	return nil
}

func refusalOf(err error) wire.Refusal {
	if r, ok := errors.AsType[refuser](err); ok {
		return r.Refusal()
	}
	// What went wrong inside the hub is not the agent's to read.
	return wire.Refusal{Reason: "Busy", Message: "the hub cannot take this link now", RetryAfterMillis: busyRetryMillis}
}

func (l *Listener) stamp() wire.Stamp {
	if l.cfg.Stamp == nil {
		return wire.Stamp{}
	}
	return l.cfg.Stamp()
}

// start serves a session in its own goroutine.
func (l *Listener) start(ctx context.Context, s *Session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closing {
		go s.Close(ErrShutdown)
		return
	}
	l.sessions[s] = struct{}{}
	l.running.Go(func() {
		defer l.forget(s)
		l.cfg.OnSession(ctx, s)
	})
}

func (l *Listener) forget(s *Session) {
	s.Close(nil)
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.sessions, s)
}
