package trust_test

import (
	"context"
	"crypto/x509"
	"errors"
	"net/http"
	"testing"

	"atoll.dev/atoll/internal/link"
	"atoll.dev/atoll/internal/trust"
)

// TestAnAgentsLifeOverTheRealPort joins, links, sleeps through rotations of
// the authority, comes back with an expired certificate, rotates its key and
// is removed, all over TLS.
func TestAnAgentsLifeOverTheRealPort(t *testing.T) {
	h := newHub(t)
	sessions := make(chan *link.Session, 1)
	gateway, err := h.ca.Gateway([]string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	port, err := link.Listen("127.0.0.1:0", link.Config{
		GetCertificate: gateway.GetCertificate, Roots: h.ca.Pool, VerifyPeer: h.server.VerifyPeer,
		Renew: h.server.Handler(), Now: h.clock.Now,
		OnSession: func(_ context.Context, s *link.Session) {
			sessions <- s
			<-s.Done()
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := contextOf(t)
	served := make(chan error, 1)
	go func() { served <- port.Serve(ctx) }()
	defer func() {
		stop()
		<-served
	}()

	dial := link.DialConfig{Address: port.Addr().String(), Now: h.clock.Now}
	config := h.config("eu-1", "uid-1", &store{})
	config.Connect = func(roots func() *x509.CertPool) *http.Client {
		renewal := dial
		renewal.Roots = roots
		return link.RenewClient(renewal)
	}
	agent, err := trust.OpenClient(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	dial.Roots, dial.GetClientCertificate = agent.Roots, agent.GetClientCertificate
	connect := func() (*link.Session, error) { return link.Dial(t.Context(), dial) }
	works := func(when string) {
		t.Helper()
		s, err := connect()
		if err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		defer s.Close(nil)
		if hub := <-sessions; hub.Peer().Subject.CommonName != "eu-1" {
			t.Errorf("%s: the hub sees %v", when, hub.Peer().Subject)
		}
	}

	if _, err := connect(); err == nil {
		t.Fatal("linked before joining")
	}
	token := h.token("eu-1")
	h.registry.accept("eu-1", true)
	if err := agent.Join(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	works("after joining")

	for range 3 {
		if err := h.ca.Rotate(); err != nil {
			t.Fatal(err)
		}
	}
	h.clock.Step(5 * trust.AgentLife)
	if s, err := connect(); err == nil {
		if _, err := s.Recv(t.Context()); err == nil {
			t.Fatal("linked with an expired certificate")
		}
	}
	if err := agent.Renew(t.Context()); err != nil {
		t.Fatalf("after three rotations missed: %v", err)
	}
	works("after renewing")
	if got, want := agent.Identity().Roots.Current, h.ca.Roots().Current; got != want {
		t.Error("the agent does not pin the current root")
	}

	if err := agent.RotateKey(t.Context()); err != nil {
		t.Fatal(err)
	}
	works("with a new key")
	if id := h.registry.get(t, "eu-1"); id.Pending != "" {
		t.Error("linking did not promote the new key")
	}

	h.registry.remove("eu-1")
	s, err := connect()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(nil)
	m, err := s.Recv(t.Context())
	if err != nil || m.Refusal == nil || m.Refusal.Reason != string(trust.Revoked) || m.Refusal.Message == "" {
		t.Errorf("a removed agent reads %+v, %v", m, err)
	}
}

func TestAnAgentRefusesAHubOfAnotherRoot(t *testing.T) {
	h, impostor := newHub(t), newHub(t)
	gateway, err := impostor.ca.Gateway([]string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan string, 10)
	port, err := link.Listen("127.0.0.1:0", link.Config{
		GetCertificate: gateway.GetCertificate, Roots: impostor.ca.Pool, OnSession: func(context.Context, *link.Session) {},
		Renew: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked <- r.URL.Path }),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := contextOf(t)
	served := make(chan error, 1)
	go func() { served <- port.Serve(ctx) }()
	defer func() {
		stop()
		<-served
	}()
	_, s := h.joined("eu-1", "uid-1")
	config := h.config("eu-1", "uid-1", s)
	config.Connect = func(roots func() *x509.CertPool) *http.Client {
		return link.RenewClient(link.DialConfig{Address: port.Addr().String(), Roots: roots})
	}
	agent, err := trust.OpenClient(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	if err := agent.Renew(t.Context()); err == nil {
		t.Fatal("renewed at an impostor's")
	} else if _, ok := errors.AsType[x509.UnknownAuthorityError](err); !ok {
		t.Errorf("got %v", err)
	}
	if len(asked) > 0 {
		t.Errorf("the impostor was asked %s", <-asked)
	}
}

func TestAnAnswerWithForgedRootsIsNotTaken(t *testing.T) {
	h, evil := newHub(t), newHub(t)
	agent, s := h.joined("eu-1", "uid-1")
	before := s.saves

	// A hub whose registry is the same, and whose authority is not.
	h.server = trust.NewServer(trust.ServerConfig{CA: evil.ca, Registry: h.registry, Now: h.clock.Now})
	misled, err := trust.OpenClient(t.Context(), h.config("eu-1", "uid-1", s))
	if err != nil {
		t.Fatal(err)
	}
	if err := misled.Renew(t.Context()); !errors.Is(err, trust.ErrUntrustedRoots) {
		t.Errorf("got %v", err)
	}
	if s.saves != before || misled.Identity().Certificate != agent.Identity().Certificate {
		t.Error("something of the answer was taken")
	}
}
