package link

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"atoll.dev/atoll/internal/wire"
)

// headerTimeout is how long a stream's header may take, both ways.
const headerTimeout = 15 * time.Second

// ErrTooManyStreams: the link carries as many streams as it may.
var ErrTooManyStreams = errors.New("too many streams on this link")

// OpenStream opens a stream to the agent; only the hub may. The stream is the
// caller's to close; closing it drops what the agent still sends on it.
func (s *Session) OpenStream(ctx context.Context, h wire.StreamHeader) (net.Conn, error) {
	if s.mux.streams() >= s.streams {
		return nil, fmt.Errorf("open stream to %s: %w", s.remote, ErrTooManyStreams)
	}
	stream, err := s.open(ctx)
	if err != nil {
		return nil, fmt.Errorf("open stream to %s: %w", s.remote, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = stream.SetWriteDeadline(time.Unix(1, 0)) })
	_ = stream.SetWriteDeadline(time.Now().Add(headerTimeout)) // on a closed stream the write says so
	if err := wire.WriteStreamHeader(stream, h); err != nil {
		stop()
		_ = stream.Close()
		return nil, fmt.Errorf("open stream to %s: %w", s.remote, errors.Join(err, context.Cause(ctx)))
	}
	if !stop() {
		_ = stream.Close()
		return nil, fmt.Errorf("open stream to %s: %w", s.remote, context.Cause(ctx))
	}
	return stream, stream.SetWriteDeadline(time.Time{})
}

// open does not wait longer than the context, though the multiplexer might:
// it waits while too many streams are not accepted.
func (s *Session) open(ctx context.Context) (net.Conn, error) {
	type opened struct {
		stream net.Conn
		err    error
	}
	result := make(chan opened, 1)
	go func() {
		stream, err := s.mux.open()
		result <- opened{stream, err}
	}()
	select {
	case r := <-result:
		return r.stream, r.err
	case <-ctx.Done():
		go func() {
			if r := <-result; r.err == nil {
				_ = r.stream.Close()
			}
		}()
		return nil, context.Cause(ctx)
	}
}

// Stream is a stream that the hub opened, with its header.
type Stream struct {
	net.Conn
	Header wire.StreamHeader
}

func readHeader(conn net.Conn) (*Stream, error) {
	_ = conn.SetReadDeadline(time.Now().Add(headerTimeout)) // on a closed stream the read says so
	h, err := wire.ReadStreamHeader(conn)
	if err != nil {
		return nil, err
	}
	return &Stream{Conn: conn, Header: h}, conn.SetReadDeadline(time.Time{})
}

// Listener accepts the hub's streams, for an http.Server or a loop; each
// connection is a *Stream. Its Accept fails when the session is over. Closing
// it leaves the session alone.
func (s *Session) Listener() net.Listener {
	l := &streamListener{session: s, ready: make(chan *Stream)}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	return l
}

// HeaderOf is the header of a connection that Listener accepted.
func HeaderOf(c net.Conn) (wire.StreamHeader, bool) {
	s, ok := c.(*Stream)
	if !ok {
		return wire.StreamHeader{}, false
	}
	return s.Header, true
}

// streamListener reads headers beside each other, so that one late header
// keeps no other stream waiting.
type streamListener struct {
	session *Session
	start   sync.Once
	ready   chan *Stream
	ctx     context.Context
	cancel  context.CancelFunc
}

func (l *streamListener) Accept() (net.Conn, error) {
	l.start.Do(func() { go l.run() })
	select {
	case stream := <-l.ready:
		return stream, nil
	case <-l.ctx.Done():
		return nil, net.ErrClosed
	}
}

func (l *streamListener) run() {
	defer l.cancel()
	for {
		conn, err := l.session.mux.accept(l.ctx)
		if err != nil {
			return
		}
		if l.session.mux.streams() > l.session.streams {
			_ = conn.Close() // a hub that opens more than a link carries gets no more
			continue
		}
		go l.offer(conn)
	}
}

func (l *streamListener) offer(conn net.Conn) {
	stream, err := readHeader(conn)
	if err != nil {
		_ = conn.Close()
		return
	}
	select {
	case l.ready <- stream:
	case <-l.ctx.Done():
		_ = conn.Close()
	}
}

func (l *streamListener) Close() error {
	l.cancel()
	return nil
}

func (l *streamListener) Addr() net.Addr { return l.session.remote }
