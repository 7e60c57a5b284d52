package link

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"atoll.dev/atoll/internal/wire"
)

// authority signs what a test needs; internal/trust has the real one.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{key: newKey(t)}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test root"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	a.cert = parse(t, sign(t, template, template, a.key, a.key))
	a.pool = x509.NewCertPool()
	a.pool.AddCert(a.cert)
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func sign(t *testing.T, template, parent *x509.Certificate, key, signer *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func parse(t *testing.T, der []byte) *x509.Certificate {
	t.Helper()
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// leaf is good for name until the given time from now.
func (a *authority) leaf(t *testing.T, name string, life time.Duration) *tls.Certificate {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(life), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der := sign(t, template, a.cert, key, a.key)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: parse(t, der)}
}

// port is a hub's agents' port under test.
type port struct {
	t         *testing.T
	authority *authority
	listener  *Listener
	// sessions are the hub's sides, in order of arrival.
	sessions chan *Session
	stop     context.CancelFunc
	served   chan error
}

// open serves cfg; what a test leaves out is filled in.
func open(t *testing.T, cfg Config) *port {
	t.Helper()
	p := &port{t: t, authority: newAuthority(t), sessions: make(chan *Session, 2000), served: make(chan error, 1)}
	gateway := p.authority.leaf(t, "hub", time.Hour)
	cfg.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return gateway, nil }
	if cfg.Roots == nil {
		cfg.Roots = func() *x509.CertPool { return p.authority.pool }
	}
	if cfg.OnSession == nil {
		cfg.OnSession = func(_ context.Context, s *Session) {
			p.sessions <- s
			<-s.Done()
		}
	}
	l, err := Listen("127.0.0.1:0", cfg)
	if err != nil {
		t.Fatal(err)
	}
	p.listener = l
	ctx, cancel := context.WithCancel(context.Background())
	p.stop = cancel
	go func() { p.served <- l.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-p.served
	})
	return p
}

func (p *port) dialConfig(cert *tls.Certificate) DialConfig {
	return DialConfig{
		Address: p.listener.Addr().String(), ServerName: "hub",
		Roots:                func() *x509.CertPool { return p.authority.pool },
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil },
	}
}

// link is an accepted link, both ends.
func (p *port) link(name string) (agent, hub *Session) {
	p.t.Helper()
	agent, err := Dial(p.t.Context(), p.dialConfig(p.authority.leaf(p.t, name, time.Hour)))
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { agent.Close(nil) })
	select {
	case hub = <-p.sessions:
	case <-agent.Done():
		p.t.Fatalf("the hub did not take the link: %v", agent.Err())
	case <-time.After(time.Minute):
		p.t.Fatal("no link")
	}
	return agent, hub
}

// raw is a TLS connection as anybody may make one.
func (p *port) raw(cfg *tls.Config) (*tls.Conn, error) {
	p.t.Helper()
	cfg.RootCAs, cfg.ServerName = p.authority.pool, "hub"
	conn, err := tls.Dial("tcp", p.listener.Addr().String(), cfg)
	if err == nil {
		p.t.Cleanup(func() { _ = conn.Close() })
	}
	return conn, err
}

func heartbeat(at int64) wire.Message {
	return wire.Message{Stamp: wire.Stamp{Incarnation: "i", Term: 1}, Heartbeat: &wire.Heartbeat{At: at}}
}

func waitFor(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("no %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

func ended(t *testing.T, s *Session) error {
	t.Helper()
	select {
	case <-s.Done():
		return s.Err()
	case <-time.After(time.Minute):
		t.Fatal("the session did not end")
		return nil
	}
}

// recorder is a Renew handler that keeps what it was asked.
type recorder struct {
	mu    sync.Mutex
	paths []string
}

func (r *recorder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.paths = append(r.paths, req.URL.Path)
}
