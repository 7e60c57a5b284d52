package link

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"time"

	"github.com/hashicorp/yamux"
)

// mux turns one connection into many. It is small so that the choice, made in
// docs/decisions/0001-multiplexer.md, can be made again.
type mux interface {
	open() (net.Conn, error)
	accept(ctx context.Context) (net.Conn, error)
	// refuseStreams resets whatever the other side opens from now on.
	refuseStreams() error
	streams() int
	// shrink gives back the receive buffer of a stream that is idle.
	shrink(stream net.Conn)
	done() <-chan struct{}
	// Close ends the connection and every stream at once.
	Close() error
}

// backlog is how many streams may be opened and not yet accepted. The agent
// accepts at once, so it is a bound on bursts only; an idle link pays for it.
const backlog = 32

// agentWindow is what the hub may send ahead on one stream: enough for 20 MB/s
// at 50 ms. The hub's own window stays at yamux's least, for there it is
// multiplied by 10,000.
const agentWindow = 1 << 20

const hubWindow = 256 << 10

// muxWriteTimeout bounds one yamux frame; Session's own deadlines are shorter
// or equal in effect and end the session first.
const muxWriteTimeout = 30 * time.Second

type yamuxMux struct{ *yamux.Session }

func newHubMux(conn net.Conn) (mux, error) {
	s, err := yamux.Server(conn, yamuxConfig(hubWindow))
	if err != nil {
		return nil, fmt.Errorf("multiplex link of %s: %w", conn.RemoteAddr(), err)
	}
	return yamuxMux{s}, nil
}

func newAgentMux(conn net.Conn) (mux, error) {
	s, err := yamux.Client(conn, yamuxConfig(agentWindow))
	if err != nil {
		return nil, fmt.Errorf("multiplex link to %s: %w", conn.RemoteAddr(), err)
	}
	return yamuxMux{s}, nil
}

func yamuxConfig(window uint32) *yamux.Config {
	return &yamux.Config{
		AcceptBacklog: backlog,
		// Heartbeats of the protocol tell more than pings of the multiplexer:
		// that the peer's program works, not only its socket.
		EnableKeepAlive:        false,
		KeepAliveInterval:      time.Minute,
		ConnectionWriteTimeout: muxWriteTimeout,
		MaxStreamWindowSize:    window,
		StreamOpenTimeout:      30 * time.Second,
		// A stream that one side closed is of no use to the other; what it still
		// sends must not stay in memory.
		StreamCloseTimeout: 10 * time.Second,
		Logger:             silent,
	}
}

// silent drops yamux's log: whatever ends a session is its error, and the
// owner of the session logs that with the cluster's name.
var silent = log.New(io.Discard, "", 0)

func (m yamuxMux) open() (net.Conn, error) { return m.Session.Open() }

func (m yamuxMux) accept(ctx context.Context) (net.Conn, error) {
	return m.Session.AcceptStreamWithContext(ctx)
}

func (m yamuxMux) refuseStreams() error { return m.Session.GoAway() }

func (m yamuxMux) streams() int { return m.Session.NumStreams() }

func (m yamuxMux) done() <-chan struct{} { return m.Session.CloseChan() }

func (m yamuxMux) shrink(stream net.Conn) {
	if s, ok := stream.(*yamux.Stream); ok {
		s.Shrink()
	}
}
