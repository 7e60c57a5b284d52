package link

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"atoll.dev/atoll/internal/wire"
)

func TestBothSidesTalk(t *testing.T) {
	p := open(t, Config{})
	agent, hub := p.link("eu-1")
	if hub.Peer().Subject.CommonName != "eu-1" || agent.Peer().Subject.CommonName != "hub" {
		t.Errorf("the peers are %v and %v", hub.Peer().Subject, agent.Peer().Subject)
	}
	for i := range int64(3) {
		if err := agent.Send(t.Context(), heartbeat(i)); err != nil {
			t.Fatal(err)
		}
		m, err := hub.Recv(t.Context())
		if err != nil || m.Heartbeat.At != i || m.Stamp.Seq != uint64(i)+1 {
			t.Fatalf("the hub heard %+v, %v", m, err)
		}
		if err := hub.Send(t.Context(), heartbeat(-i)); err != nil {
			t.Fatal(err)
		}
		if m, err := agent.Recv(t.Context()); err != nil || m.Heartbeat.At != -i {
			t.Fatalf("the agent heard %+v, %v", m, err)
		}
	}
	large := wire.Message{Content: &wire.Content{Digest: "d", Data: make([]byte, 4<<20)}}
	go func() { _ = hub.Send(context.Background(), large) }()
	if m, err := agent.Recv(t.Context()); err != nil || len(m.Content.Data) != 4<<20 {
		t.Errorf("a large message did not come: %v", err)
	}
}

func TestTheLinkWantsACertificateOfTheRoots(t *testing.T) {
	p := open(t, Config{})
	good := p.authority.leaf(t, "eu-1", time.Hour)
	for name, cfg := range map[string]*tls.Config{
		"none":                     {NextProtos: []string{wire.ProtoLink}},
		"none, naming both":        {NextProtos: []string{wire.ProtoRenew, wire.ProtoLink}},
		"another authority's":      {NextProtos: []string{wire.ProtoLink}, Certificates: []tls.Certificate{*newAuthority(t).leaf(t, "eu-1", time.Hour)}},
		"an expired one":           {NextProtos: []string{wire.ProtoLink}, Certificates: []tls.Certificate{*p.authority.leaf(t, "eu-1", -time.Minute)}},
		"a good one, in TLS 1.2":   {NextProtos: []string{wire.ProtoLink}, Certificates: []tls.Certificate{*good}, MaxVersion: tls.VersionTLS12},
		"a good one, no protocol":  {Certificates: []tls.Certificate{*good}},
		"a good one, for HTTP/1.1": {NextProtos: []string{"http/1.1"}, Certificates: []tls.Certificate{*good}},
	} {
		conn, err := p.raw(cfg)
		if err != nil {
			continue
		}
		// In TLS 1.3 the client is done before the server has decided; go on as
		// an agent does.
		m, err := newAgentMux(conn)
		if err != nil {
			t.Fatal(err)
		}
		if control, err := m.open(); err == nil {
			defer newSession(m, control, conn, 1).Close(nil)
		}
		select {
		case <-m.done():
		case <-p.sessions:
			t.Errorf("%s: the hub took the link", name)
		}
	}
	if n := p.listener.Sessions(); n != 0 {
		t.Errorf("%d sessions were made", n)
	}
}

func TestTheLinkFollowsTheRoots(t *testing.T) {
	var roots atomic.Pointer[x509.CertPool]
	p := open(t, Config{Roots: roots.Load})
	other := newAuthority(t)
	roots.Store(p.authority.pool)
	p.link("eu-1")

	roots.Store(other.pool)
	agent, err := Dial(t.Context(), p.dialConfig(p.authority.leaf(t, "eu-1", time.Hour)))
	if err == nil {
		ended(t, agent)
	}
	agent, err = Dial(t.Context(), p.dialConfig(other.leaf(t, "eu-1", time.Hour)))
	if err != nil {
		t.Fatal(err)
	}
	defer agent.Close(nil)
	if s := <-p.sessions; s.Peer().Issuer.CommonName != "test root" {
		t.Errorf("a session of %v", s.Peer().Issuer)
	}
}

func TestAnAgentRefusesAHubOfOtherRoots(t *testing.T) {
	p := open(t, Config{})
	c := p.dialConfig(p.authority.leaf(t, "eu-1", time.Hour))
	c.Roots = func() *x509.CertPool { return newAuthority(t).pool }
	_, err := Dial(t.Context(), c)
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); !ok {
		t.Errorf("got %v", err)
	}
	c = p.dialConfig(p.authority.leaf(t, "eu-1", time.Hour))
	c.ServerName = "another.example.com"
	if _, err := Dial(t.Context(), c); err == nil {
		t.Error("the agent talks to a hub of another name")
	}
}

type revoked struct{ error }

func (revoked) Refusal() wire.Refusal {
	return wire.Refusal{Reason: "Revoked", Message: "cluster eu-1 was removed"}
}

func TestARefusedAgentReadsWhy(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		want wire.Refusal
	}{
		"a refusal": {revoked{errors.New("x")}, wire.Refusal{Reason: "Revoked", Message: "cluster eu-1 was removed"}},
		"a failure": {errors.New("dial /secret/etcd.sock"), wire.Refusal{Reason: "Busy", Message: "the hub cannot take this link now", RetryAfterMillis: busyRetryMillis}},
	} {
		t.Run(name, func(t *testing.T) {
			stamp := wire.Stamp{Incarnation: "i", Term: 3}
			p := open(t, Config{
				VerifyPeer: func(context.Context, *x509.Certificate) error { return c.err },
				Stamp:      func() wire.Stamp { return stamp },
			})
			agent, err := Dial(t.Context(), p.dialConfig(p.authority.leaf(t, "eu-1", time.Hour)))
			if err != nil {
				t.Fatal(err)
			}
			defer agent.Close(nil)
			m, err := agent.Recv(t.Context())
			if err != nil || m.Refusal == nil || *m.Refusal != c.want || m.Stamp != stamp.Next() {
				t.Errorf("the agent read %+v, %v", m, err)
			}
			if n := p.listener.Sessions(); n != 0 {
				t.Errorf("%d sessions of a refused agent", n)
			}
		})
	}
}

func TestAFullHubIsBusy(t *testing.T) {
	p := open(t, Config{Limits: Limits{Sessions: 1}})
	first, _ := p.link("eu-1")
	waitFor(t, "session", func() bool { return p.listener.Sessions() == 1 })
	second, err := Dial(t.Context(), p.dialConfig(p.authority.leaf(t, "eu-2", time.Hour)))
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close(nil)
	if m, err := second.Recv(t.Context()); err != nil || m.Refusal == nil || m.Refusal.Reason != "Busy" {
		t.Errorf("the second agent read %+v, %v", m, err)
	}
	first.Close(nil)
	waitFor(t, "free place", func() bool { return p.listener.Sessions() == 0 })
	p.link("eu-3")
}

func TestSilentStrangersLoseTheirPlace(t *testing.T) {
	p := open(t, Config{Limits: Limits{Handshake: 50 * time.Millisecond, UnprovenPerIP: 2}})
	address := p.listener.Addr().String()
	closed := func(conn net.Conn) {
		t.Helper()
		_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
		if _, err := io.Copy(io.Discard, conn); errors.Is(err, context.DeadlineExceeded) {
			t.Fatal("a silent connection stays")
		}
	}
	for range 3 {
		silent, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer silent.Close()
		closed(silent)
	}
	// A whole handshake, and then no control stream.
	halfway, err := p.raw(&tls.Config{NextProtos: []string{wire.ProtoLink}, Certificates: []tls.Certificate{*p.authority.leaf(t, "eu-1", time.Hour)}})
	if err != nil {
		t.Fatal(err)
	}
	closed(halfway)
	waitFor(t, "free place", func() bool { return unproven(p) == 0 })
}

func unproven(p *port) int {
	p.listener.admission.mu.Lock()
	defer p.listener.admission.mu.Unlock()
	return p.listener.admission.total + len(p.listener.admission.perIP)
}

func TestOneAddressHasSoManyUnprovenConnections(t *testing.T) {
	p := open(t, Config{Limits: Limits{Handshake: time.Minute, UnprovenPerIP: 2}})
	dial := func(from byte) net.Conn {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, from)}}
		conn, err := d.Dial("tcp", p.listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	dial(2)
	second := dial(2)
	waitFor(t, "two connections", func() bool { return unproven(p) == 3 })
	over := dial(2)
	_ = over.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := over.Read(make([]byte, 1)); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a third connection of one address: %v", err)
	}
	// Agents at other addresses, and proven links, are not in the way.
	p.link("eu-1")
	p.link("eu-2")
	p.link("eu-3")
	_ = second.Close()
	waitFor(t, "free place", func() bool { return unproven(p) == 2 })
}

func TestRenewalTakesAnyCertificateAndNoMore(t *testing.T) {
	handler := &recorder{}
	p := open(t, Config{Renew: handler})
	for name, cert := range map[string]*tls.Certificate{
		"none":                {},
		"an expired one":      p.authority.leaf(t, "eu-1", -time.Minute),
		"another authority's": newAuthority(t).leaf(t, "eu-1", time.Hour),
	} {
		client := RenewClient(p.dialConfig(cert))
		for _, path := range []string{"/v0/challenge", "/v0/renew"} {
			resp, err := client.Post("https://whatever"+path, "application/json", strings.NewReader("{}"))
			if err != nil || resp.StatusCode != http.StatusOK {
				t.Fatalf("%s: %v, %v", name, resp, err)
			}
			_ = resp.Body.Close()
		}
		client.CloseIdleConnections()
	}
	if len(handler.paths) != 6 {
		t.Errorf("the handler was asked for %v", handler.paths)
	}
	waitFor(t, "free places", func() bool { return unproven(p) == 0 })
}

func TestRenewalBodiesAreBounded(t *testing.T) {
	read := make(chan error, 1)
	p := open(t, Config{Renew: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		read <- err
	})})
	client := RenewClient(p.dialConfig(&tls.Certificate{}))
	defer client.CloseIdleConnections()
	resp, err := client.Post("https://hub/", "application/json", strings.NewReader(strings.Repeat("x", maxRenewBody+1)))
	if err == nil {
		_ = resp.Body.Close()
	}
	if _, ok := errors.AsType[*http.MaxBytesError](<-read); !ok {
		t.Error("a body over the limit was read whole")
	}
}

func TestShutdownEndsEverything(t *testing.T) {
	p := open(t, Config{})
	agent, hub := p.link("eu-1")
	silent, err := net.Dial("tcp", p.listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	p.stop()
	if err := <-p.served; err != nil {
		t.Errorf("Serve returned %v", err)
	}
	p.served <- nil // for the cleanup
	if err := ended(t, hub); !errors.Is(err, ErrShutdown) {
		t.Errorf("the hub's side ended with %v", err)
	}
	if err := ended(t, agent); !errors.Is(err, ErrPeerGone) {
		t.Errorf("the agent's side ended with %v", err)
	}
	if _, err := net.Dial("tcp", p.listener.Addr().String()); err == nil {
		t.Error("the port still answers")
	}
}
