package link

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"atoll.dev/atoll/internal/wire"
)

// Times that bound what one message may take.
const (
	// sendTimeout is how long a peer may take to take one message.
	sendTimeout = 20 * time.Second
	// frameTimeout is how long the rest of a frame may take after its first byte.
	frameTimeout = 60 * time.Second
	// lingerTimeout is how long a refused peer has to read why.
	lingerTimeout = 2 * time.Second
)

// Errors that end a session.
var (
	// ErrClosed: this side closed the session without another reason.
	ErrClosed = errors.New("the link was closed")
	// ErrPeerGone: the connection ended.
	ErrPeerGone = errors.New("the other side is gone")
	// ErrSlowPeer: a message could not be delivered in time.
	ErrSlowPeer = errors.New("the other side does not take messages")
	// ErrSequence: a message was repeated, left out or out of order.
	ErrSequence = errors.New("a message is out of sequence")
	// ErrShutdown: the listener was shut down.
	ErrShutdown = errors.New("the hub is shutting down")
)

// Session is one link. Send may be called from anywhere; Recv from one
// goroutine at a time. A Session must be closed; closing twice is harmless.
type Session struct {
	mux     mux
	control net.Conn
	peer    *x509.Certificate
	remote  net.Addr
	streams int // how many streams may be open, the control stream included

	sending chan struct{} // holds one token; a channel, for waiting with a context
	sent    uint64        // guarded by sending
	heard   uint64        // of the one goroutine in Recv

	mu     sync.Mutex
	reason error
}

func newSession(m mux, control net.Conn, conn *tls.Conn, maxStreams int) *Session {
	s := &Session{
		mux:     m,
		control: control,
		remote:  conn.RemoteAddr(),
		streams: maxStreams,
		sending: make(chan struct{}, 1),
	}
	if certs := conn.ConnectionState().PeerCertificates; len(certs) > 0 {
		s.peer = certs[0]
	}
	return s
}

// Peer is the other side's certificate, verified against the roots.
func (s *Session) Peer() *x509.Certificate { return s.peer }

// RemoteAddr is the other end of the connection; for an agent behind a proxy,
// the proxy.
func (s *Session) RemoteAddr() net.Addr { return s.remote }

// Done is closed when the session has ended.
func (s *Session) Done() <-chan struct{} { return s.mux.done() }

// Err is why the session ended, nil while it lives.
func (s *Session) Err() error {
	select {
	case <-s.mux.done():
	default:
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reason == nil {
		return ErrPeerGone
	}
	return s.reason
}

// Close ends the session and all its streams; the first reason given is the
// one that Err tells.
func (s *Session) Close(reason error) {
	s.mu.Lock()
	if s.reason == nil {
		s.reason = reasonOf(s.mux.done(), reason)
	}
	s.mu.Unlock()
	_ = s.mux.Close() // the connection is given up; nothing can be done about an error
}

func reasonOf(done <-chan struct{}, given error) error {
	select {
	case <-done:
		return ErrPeerGone // before this side had a reason
	default:
	}
	if given == nil {
		return ErrClosed
	}
	return given
}

// Send writes m with the next sequence number of this side; the caller sets
// the rest of the Stamp. It returns when the message was handed to the
// connection. An error other than the context's while waiting for an earlier
// Send means that the session is over.
func (s *Session) Send(ctx context.Context, m wire.Message) error {
	select {
	case s.sending <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("send to %s: %w", s.remote, context.Cause(ctx))
	case <-s.Done():
		return fmt.Errorf("send to %s: %w", s.remote, s.Err())
	}
	defer func() { <-s.sending }()
	return s.write(ctx, m)
}

// write ends the session when the deadline passes: a frame that is half
// written can't be taken back.
func (s *Session) write(ctx context.Context, m wire.Message) error {
	m.Stamp.Seq = s.sent + 1
	watchdog := time.AfterFunc(sendTimeout, func() { s.Close(ErrSlowPeer) })
	defer watchdog.Stop()
	stop := context.AfterFunc(ctx, func() { s.Close(fmt.Errorf("%w: %w", ErrSlowPeer, context.Cause(ctx))) })
	defer stop()

	var frame *wire.FrameError
	switch err := wire.WriteMessage(s.control, m); {
	case err == nil:
		s.sent++
		return nil
	case errors.As(err, &frame):
		return fmt.Errorf("send to %s: %w", s.remote, err) // refused before the first byte: the session lives on
	default:
		s.Close(fmt.Errorf("%w: %w", ErrPeerGone, err))
		return fmt.Errorf("send to %s: %w", s.remote, s.Err())
	}
}

// Recv waits for the next message. Any error, also of the context, ends the
// session: a frame that is half read can't be put back.
func (s *Session) Recv(ctx context.Context) (wire.Message, error) {
	stop := context.AfterFunc(ctx, func() { s.Close(context.Cause(ctx)) })
	defer stop()
	m, err := s.read()
	if err == nil && m.Stamp.Seq != s.heard+1 {
		err = fmt.Errorf("%w: %d after %d", ErrSequence, m.Stamp.Seq, s.heard)
	}
	if err != nil {
		s.Close(err)
		return wire.Message{}, fmt.Errorf("receive from %s: %w", s.remote, s.Err())
	}
	s.heard++
	// After every message, not only a large one: the buffer of a large one can
	// only be given back when no other has followed it, often a heartbeat later.
	s.mux.shrink(s.control)
	return m, nil
}

func (s *Session) read() (wire.Message, error) {
	r := &frameReader{conn: s.control}
	m, err := wire.ReadMessage(r)
	if r.n > 0 {
		_ = s.control.SetReadDeadline(time.Time{}) // on a closed stream the next read says so
	}
	var frame *wire.FrameError
	if err != nil && !errors.As(err, &frame) {
		err = fmt.Errorf("%w: %w", ErrPeerGone, err)
	}
	return m, err
}

// frameReader waits for ever for a frame's first byte, and frameTimeout for the rest.
type frameReader struct {
	conn net.Conn
	n    int
}

func (r *frameReader) Read(p []byte) (int, error) {
	n, err := r.conn.Read(p)
	if r.n == 0 && n > 0 {
		_ = r.conn.SetReadDeadline(time.Now().Add(frameTimeout)) // see read
	}
	r.n += n
	return n, err
}

// Refuse tells the peer why, gives it a moment to read that, and closes.
func (s *Session) Refuse(ctx context.Context, stamp wire.Stamp, r wire.Refusal) error {
	defer s.Close(fmt.Errorf("refused as %s: %s", r.Reason, r.Message))
	if err := s.Send(ctx, wire.Message{Stamp: stamp, Refusal: &r}); err != nil {
		return err
	}
	timer := time.NewTimer(lingerTimeout)
	defer timer.Stop()
	select {
	case <-s.Done():
	case <-timer.C:
	case <-ctx.Done():
	}
	return nil
}
