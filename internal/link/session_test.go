package link

import (
	"bytes"
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"atoll.dev/atoll/internal/wire"
)

func TestASlowAgentEndsItsOwnSessionOnly(t *testing.T) {
	p := open(t, Config{})
	slow, toSlow := p.link("slow")
	fast, toFast := p.link("fast")

	// The slow agent never reads: its windows and buffers fill.
	piece := wire.Message{Content: &wire.Content{Digest: "d", Data: make([]byte, wire.MaxPiece)}}
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	var err error
	for range 10_000 {
		if err = toSlow.Send(ctx, piece); err != nil {
			break
		}
	}
	if !errors.Is(err, ErrSlowPeer) {
		t.Fatalf("sending to a slow agent gave %v", err)
	}
	if err := ended(t, toSlow); !errors.Is(err, ErrSlowPeer) {
		t.Errorf("the session ended with %v", err)
	}
	ended(t, slow)

	if err := toFast.Send(t.Context(), heartbeat(1)); err != nil {
		t.Fatal(err)
	}
	if _, err := fast.Recv(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestASendThatWaitsForAnotherGivesUpWithoutHarm(t *testing.T) {
	p := open(t, Config{})
	agent, hub := p.link("eu-1")
	hub.sending <- struct{}{} // another Send is under way
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := hub.Send(ctx, heartbeat(1)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	<-hub.sending
	if err := hub.Send(t.Context(), heartbeat(2)); err != nil {
		t.Fatal(err)
	}
	if m, err := agent.Recv(t.Context()); err != nil || m.Heartbeat.At != 2 || m.Stamp.Seq != 1 {
		t.Errorf("heard %+v, %v", m, err)
	}
}

func TestAMessageThatMayNotBeSentHarmsNothing(t *testing.T) {
	p := open(t, Config{})
	agent, hub := p.link("eu-1")
	for _, m := range []wire.Message{{}, {Content: &wire.Content{Data: make([]byte, wire.MaxFrame)}}} {
		if _, ok := errors.AsType[*wire.FrameError](hub.Send(t.Context(), m)); !ok {
			t.Error("sent what nobody may read")
		}
	}
	if err := hub.Send(t.Context(), heartbeat(1)); err != nil {
		t.Fatal(err)
	}
	if m, err := agent.Recv(t.Context()); err != nil || m.Stamp.Seq != 1 {
		t.Errorf("heard %+v, %v", m, err)
	}
}

// encoded is a message as it goes over the wire.
func encoded(t *testing.T, seq uint64) []byte {
	t.Helper()
	m := heartbeat(1)
	m.Stamp.Seq = seq
	var buf bytes.Buffer
	if err := wire.WriteMessage(&buf, m); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestRepeatedMissingAndHalfMessagesEndTheSession(t *testing.T) {
	for name, c := range map[string]struct {
		bytes func(t *testing.T) []byte
		good  int
		want  func(error) bool
	}{
		"a message again": {
			func(t *testing.T) []byte { return append(encoded(t, 1), encoded(t, 1)...) }, 1,
			func(err error) bool { return errors.Is(err, ErrSequence) },
		},
		"one left out": {
			func(t *testing.T) []byte { return append(encoded(t, 1), encoded(t, 3)...) }, 1,
			func(err error) bool { return errors.Is(err, ErrSequence) },
		},
		"half a frame, then the end": {
			func(t *testing.T) []byte { return encoded(t, 1)[:9] }, 0,
			func(err error) bool {
				fe, ok := errors.AsType[*wire.FrameError](err)
				return errors.Is(err, ErrPeerGone) || ok && fe.Fault == wire.FaultTruncated
			},
		},
		"a frame too large": {
			func(*testing.T) []byte { return []byte{0x7f, 0, 0, 0} }, 0,
			func(err error) bool {
				fe, ok := errors.AsType[*wire.FrameError](err)
				return ok && fe.Fault == wire.FaultTooLarge
			},
		},
		"noise": {
			func(*testing.T) []byte { return []byte{0, 0, 0, 2, 0xff, 0xff} }, 0,
			func(err error) bool {
				fe, ok := errors.AsType[*wire.FrameError](err)
				return ok && fe.Fault == wire.FaultMalformed
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := open(t, Config{})
			agent, hub := p.link("eu-1")
			if _, err := agent.control.Write(c.bytes(t)); err != nil {
				t.Fatal(err)
			}
			if name == "half a frame, then the end" {
				agent.Close(nil)
			}
			for range c.good {
				if _, err := hub.Recv(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := hub.Recv(t.Context()); !c.want(err) {
				t.Errorf("got %v", err)
			}
			ended(t, hub)
			ended(t, agent)
		})
	}
}

func TestAFrameThatStopsHalfwayEndsWithTheContext(t *testing.T) {
	p := open(t, Config{})
	agent, hub := p.link("eu-1")
	if _, err := agent.control.Write(encoded(t, 1)[:9]); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := hub.Recv(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	ended(t, agent)
}

func TestAnAbruptEndIsNoticedByEveryStream(t *testing.T) {
	p := open(t, Config{})
	conn, err := p.dialConfig(p.authority.leaf(t, "eu-1", time.Hour)).dialTLS(t.Context(), wire.ProtoLink)
	if err != nil {
		t.Fatal(err)
	}
	m, err := newAgentMux(conn)
	if err != nil {
		t.Fatal(err)
	}
	control, err := m.open()
	if err != nil {
		t.Fatal(err)
	}
	agent := newSession(m, control, conn, 8)
	hub := <-p.sessions
	streams := agent.Listener()
	stream, err := hub.OpenStream(t.Context(), wire.StreamHeader{Kind: wire.StreamHTTP})
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := streams.Accept()
	if err != nil {
		t.Fatal(err)
	}
	// As when the machine dies: a reset, and no word of TLS or the multiplexer.
	tcp := conn.NetConn().(*net.TCPConn)
	if err := errors.Join(tcp.SetLinger(0), tcp.Close()); err != nil {
		t.Fatal(err)
	}

	if _, err := hub.Recv(t.Context()); !errors.Is(err, ErrPeerGone) {
		t.Errorf("receiving gave %v", err)
	}
	for name, end := range map[string]net.Conn{"hub": stream, "agent": accepted} {
		if n, err := end.Read(make([]byte, 1)); err == nil {
			t.Errorf("the %s's stream still brings %d bytes", name, n)
		}
	}
	if _, err := streams.Accept(); err == nil {
		t.Error("streams of a dead session")
	}
	if err := hub.Send(t.Context(), heartbeat(1)); !errors.Is(err, ErrPeerGone) {
		t.Errorf("sending gave %v", err)
	}
	if _, err := hub.OpenStream(t.Context(), wire.StreamHeader{Kind: wire.StreamHTTP}); err == nil {
		t.Error("opened a stream on a dead session")
	}
}

func TestTheFirstReasonIsTold(t *testing.T) {
	p := open(t, Config{})
	_, hub := p.link("eu-1")
	if err := hub.Err(); err != nil {
		t.Errorf("a living session ended with %v", err)
	}
	first := errors.New("duplicate agent")
	hub.Close(first)
	hub.Close(errors.New("second"))
	if err := ended(t, hub); !errors.Is(err, first) {
		t.Errorf("ended with %v", err)
	}
}

func TestManyLinksAtOnce(t *testing.T) {
	n := 1000
	if raceEnabled {
		n = 100
	}
	p := open(t, Config{OnSession: func(ctx context.Context, s *Session) {
		for {
			m, err := s.Recv(ctx)
			if err != nil || s.Send(ctx, heartbeat(m.Heartbeat.At+1)) != nil {
				return
			}
		}
	}})
	cert := p.authority.leaf(t, "fleet", time.Hour)
	agents := make([]*Session, n)
	var dialing sync.WaitGroup
	places := make(chan struct{}, 32)
	for i := range agents {
		dialing.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			s, err := Dial(t.Context(), p.dialConfig(cert))
			if err != nil {
				t.Error(err)
				return
			}
			agents[i] = s
		})
	}
	dialing.Wait()
	if t.Failed() {
		t.FailNow()
	}
	var talking sync.WaitGroup
	for i, s := range agents {
		talking.Go(func() {
			for at := range int64(3) {
				if err := s.Send(t.Context(), heartbeat(at*100+int64(i))); err != nil {
					t.Error(err)
					return
				}
				m, err := s.Recv(t.Context())
				if err != nil || m.Heartbeat.At != at*100+int64(i)+1 {
					t.Errorf("agent %d heard %+v, %v", i, m, err)
					return
				}
			}
		})
	}
	talking.Wait()
	if got := p.listener.Sessions(); got != n {
		t.Errorf("%d sessions of %d", got, n)
	}
	p.stop()
	for _, s := range agents {
		ended(t, s)
	}
	if err := <-p.served; err != nil {
		t.Error(err)
	}
	p.served <- nil // for the cleanup
}
