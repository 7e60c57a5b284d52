package link

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"atoll.dev/atoll/internal/wire"
)

type headerKey struct{}

// serveHTTP is what an agent does with its streams.
func serveHTTP(t *testing.T, s *Session) {
	t.Helper()
	server := &http.Server{
		ReadHeaderTimeout: time.Minute,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			h, _ := HeaderOf(c)
			return context.WithValue(ctx, headerKey{}, h)
		},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h, _ := r.Context().Value(headerKey{}).(wire.StreamHeader)
			fmt.Fprintf(w, "%s for %s of %v", r.URL.Path, h.User, h.Groups)
		}),
	}
	go func() { _ = server.Serve(s.Listener()) }()
	t.Cleanup(func() { _ = server.Close() })
}

func TestTheHubReachesAnHTTPServerOfTheAgent(t *testing.T) {
	p := open(t, Config{})
	agent, hub := p.link("eu-1")
	serveHTTP(t, agent)
	for i := range 5 {
		stream, err := hub.OpenStream(t.Context(), wire.StreamHeader{Kind: wire.StreamHTTP, User: "ann", Groups: []string{"dev"}})
		if err != nil {
			t.Fatal(err)
		}
		path := fmt.Sprintf("/api/%d", i)
		if _, err := fmt.Fprintf(stream, "GET %s HTTP/1.1\r\nHost: member\r\nConnection: close\r\n\r\n", path); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(stream), nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if want := path + " for ann of [dev]"; err != nil || string(body) != want {
			t.Errorf("got %q, %v, want %q", body, err, want)
		}
		_ = stream.Close()
	}
	waitFor(t, "end of the streams", func() bool { return hub.mux.streams() == 1 })
}

func TestStreamsAndMessagesDoNotWaitForEachOther(t *testing.T) {
	p := open(t, Config{})
	agent, hub := p.link("eu-1")
	streams := agent.Listener()
	stream, err := hub.OpenStream(t.Context(), wire.StreamHeader{Kind: wire.StreamHTTP})
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := streams.Accept()
	if err != nil {
		t.Fatal(err)
	}
	// A log that nobody reads fills its own window only.
	go func() {
		for {
			if _, err := accepted.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	}()
	for i := range int64(20) {
		if err := agent.Send(t.Context(), heartbeat(i)); err != nil {
			t.Fatal(err)
		}
		if _, err := hub.Recv(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	_ = stream.Close()
}

func TestOnlyTheHubOpensStreams(t *testing.T) {
	p := open(t, Config{})
	agent, hub := p.link("eu-1")
	// GoAway may not have arrived yet: then the hub resets the stream.
	if stream, err := agent.OpenStream(t.Context(), wire.StreamHeader{Kind: wire.StreamHTTP}); err == nil {
		if _, err := stream.Read(make([]byte, 1)); err == nil {
			t.Error("the hub answers on an agent's stream")
		}
	}
	if n := hub.mux.streams(); n != 1 {
		t.Errorf("the hub holds %d streams, one is the control stream", n)
	}
}

func TestALinkCarriesSoManyStreams(t *testing.T) {
	p := open(t, Config{Limits: Limits{Streams: 4}})
	agent, hub := p.link("eu-1")
	streams := agent.Listener()
	var opened []net.Conn
	for {
		stream, err := hub.OpenStream(t.Context(), wire.StreamHeader{Kind: wire.StreamHTTP})
		if errors.Is(err, ErrTooManyStreams) {
			break
		}
		if err != nil || len(opened) > 4 {
			t.Fatalf("%d streams, then %v", len(opened), err)
		}
		opened = append(opened, stream)
	}
	for range opened {
		accepted, err := streams.Accept()
		if err != nil {
			t.Fatal(err)
		}
		_ = accepted.Close()
	}
	_ = opened[0].Close()
	waitFor(t, "room for another stream", func() bool {
		stream, err := hub.OpenStream(t.Context(), wire.StreamHeader{Kind: wire.StreamHTTP})
		if err == nil {
			_ = stream.Close()
		}
		return err == nil
	})
}

func TestAStreamWithoutAGoodHeaderIsDropped(t *testing.T) {
	p := open(t, Config{})
	agent, hub := p.link("eu-1")
	streams := agent.Listener()
	late, err := hub.mux.open() // says nothing, and holds nobody up
	if err != nil {
		t.Fatal(err)
	}
	defer late.Close()
	bad, err := hub.mux.open()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(bad, "GET / HTTP/1.1\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := hub.OpenStream(t.Context(), wire.StreamHeader{Kind: "later"}); err != nil {
		t.Fatal(err)
	}
	accepted, err := streams.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if h, ok := HeaderOf(accepted); !ok || h.Kind != "later" {
		t.Errorf("accepted %+v", h)
	}
	if _, err := bad.Read(make([]byte, 1)); err == nil {
		t.Error("a stream without a header is answered")
	}
}

func TestOpeningAStreamEndsWithItsContext(t *testing.T) {
	p := open(t, Config{})
	_, hub := p.link("eu-1") // this agent accepts nothing
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := hub.OpenStream(ctx, wire.StreamHeader{Kind: wire.StreamHTTP}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	for range backlog + 2 {
		if _, err := hub.OpenStream(ctx, wire.StreamHeader{Kind: wire.StreamHTTP}); err != nil {
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v", err)
			}
			return
		}
	}
	t.Error("more streams were opened than an agent that accepts none can hold")
}

func TestStreamHeadersAreBounded(t *testing.T) {
	p := open(t, Config{})
	_, hub := p.link("eu-1")
	h := wire.StreamHeader{Kind: wire.StreamHTTP, User: strings.Repeat("u", wire.MaxStreamHeader)}
	if _, ok := errors.AsType[*wire.FrameError](func() error { _, err := hub.OpenStream(t.Context(), h); return err }()); !ok {
		t.Error("a header over the limit was sent")
	}
}
