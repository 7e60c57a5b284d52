package trust_test

import (
	"context"
	"crypto/x509"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"atoll.dev/atoll/internal/trust"
)

// record is what memory keeps of a cluster.
type record struct {
	trust.Enrolment
	Token *trust.TokenRecord
}

// memory is a Registry in a map; every method is one transaction.
type memory struct {
	mu       sync.Mutex
	clusters map[string]*record
	failing  error // of the next writes
}

func newMemory() *memory { return &memory{clusters: map[string]*record{}} }

func (m *memory) Lookup(_ context.Context, cluster string) (trust.Enrolment, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, ok := m.clusters[cluster]
	if !ok {
		return trust.Enrolment{}, nil
	}
	found := c.Enrolment
	if c.Identity != nil {
		id := *c.Identity
		found.Identity = &id
	}
	return found, nil
}

func (m *memory) Token(_ context.Context, cluster string) (*trust.TokenRecord, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, ok := m.clusters[cluster]
	if !ok || c.Token == nil {
		return nil, nil
	}
	token := *c.Token
	return &token, nil
}

func (m *memory) ByClusterUID(_ context.Context, uid string) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, c := range m.clusters {
		if c.Identity != nil && c.Identity.ClusterUID == uid {
			return name, nil
		}
	}
	return "", nil
}

// update changes a cluster, or fails as a store does.
func (m *memory) update(cluster string, change func(*record) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.failing != nil {
		return m.failing
	}
	c, ok := m.clusters[cluster]
	if !ok {
		return errors.New("no such cluster")
	}
	return change(c)
}

func (m *memory) ConsumeToken(_ context.Context, cluster, hash, fingerprint string, at time.Time) error {
	return m.update(cluster, func(c *record) error {
		if c.Token == nil || c.Token.Hash != hash {
			return &trust.Refused{Reason: trust.TokenUnknown, Message: "the token was replaced"}
		}
		if c.Token.UsedBy != "" && c.Token.UsedBy != fingerprint {
			return &trust.Refused{Reason: trust.TokenUsed, Message: "the token was used a moment ago"}
		}
		c.Token.UsedBy, c.Token.UsedAt = fingerprint, at
		return nil
	})
}

func (m *memory) SaveIdentity(_ context.Context, cluster string, id trust.Enrolled) error {
	return m.update(cluster, func(c *record) error {
		c.Identity = &id
		return nil
	})
}

func (m *memory) Renewed(_ context.Context, cluster string, r trust.Renewal) error {
	return m.update(cluster, func(c *record) error {
		c.Identity.SealingKey, c.Identity.AgentVersion, c.Identity.Expires = r.SealingKey, r.AgentVersion, r.Expires
		return nil
	})
}

func (m *memory) SetPending(_ context.Context, cluster, fingerprint string, expires time.Time) error {
	return m.update(cluster, func(c *record) error {
		c.Identity.Pending, c.Identity.Expires = fingerprint, expires
		return nil
	})
}

func (m *memory) Promote(_ context.Context, cluster, fingerprint string) error {
	return m.update(cluster, func(c *record) error {
		if c.Identity.Pending == fingerprint {
			c.Identity.Fingerprint, c.Identity.Pending = fingerprint, ""
		}
		return nil
	})
}

func (m *memory) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failing = err
}

func (m *memory) accept(cluster string, accepted bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.clusters[cluster].Accepted = accepted
}

func (m *memory) remove(cluster string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.clusters, cluster)
}

func (m *memory) get(t *testing.T, cluster string) trust.Enrolled {
	t.Helper()
	e, err := m.Lookup(t.Context(), cluster)
	if err != nil || e.Identity == nil {
		t.Fatalf("cluster %s is not enrolled (%v)", cluster, err)
	}
	return *e.Identity
}

// hub is the whole hub's side, with a clock that only moves when told.
type hub struct {
	t        *testing.T
	clock    *clocktesting.FakeClock
	ca       *trust.CA
	registry *memory
	server   *trust.Server
}

func newHub(t *testing.T) *hub {
	t.Helper()
	// Whole seconds, because certificates have no finer times.
	clock := clocktesting.NewFakeClock(time.Now().Truncate(time.Second))
	ca, err := trust.OpenCA(t.TempDir(), clock.Now)
	if err != nil {
		t.Fatal(err)
	}
	registry := newMemory()
	server := trust.NewServer(trust.ServerConfig{CA: ca, Registry: registry, Now: clock.Now})
	return &hub{t: t, clock: clock, ca: ca, registry: registry, server: server}
}

// token makes a cluster, if there is none of the name, and a token for it.
func (h *hub) token(cluster string) string {
	token, made := trust.NewToken(cluster, h.clock.Now())
	h.registry.mu.Lock()
	defer h.registry.mu.Unlock()
	c := h.registry.clusters[cluster]
	if c == nil {
		c = &record{Enrolment: trust.Enrolment{Exists: true}}
		h.registry.clusters[cluster] = c
	}
	c.Token = &made
	return token
}

// connect is an HTTP client whose requests the hub answers at once.
func (h *hub) connect(func() *x509.CertPool) *http.Client {
	handler := h.server.Handler()
	return &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		r.RemoteAddr = "127.0.0.1:1"
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		return w.Result(), nil
	})}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// store is a KeyStore that goes through the form a Secret has.
type store struct {
	mu      sync.Mutex
	data    map[string][]byte
	failing error
	saves   int
}

func (s *store) Load(context.Context) (trust.Identity, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return trust.ParseIdentity(s.data)
}

func (s *store) Save(_ context.Context, id trust.Identity) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failing != nil {
		return s.failing
	}
	data, err := id.Data()
	if err == nil {
		s.data = data
		s.saves++
	}
	return err
}

func (h *hub) config(cluster, uid string, s *store) trust.ClientConfig {
	return trust.ClientConfig{
		Store: s, Cluster: cluster, ClusterUID: uid, Roots: h.ca.Roots(), AgentVersion: "v0.1.0",
		NewSealingKey: func() ([]byte, string, error) { return []byte("private"), "public", nil },
		Connect:       h.connect, Clock: h.clock,
	}
}

func (h *hub) agent(cluster, uid string, s *store) *trust.Client {
	h.t.Helper()
	c, err := trust.OpenClient(h.t.Context(), h.config(cluster, uid, s))
	if err != nil {
		h.t.Fatal(err)
	}
	return c
}

// joined is an accepted agent with its first certificate.
func (h *hub) joined(cluster, uid string) (*trust.Client, *store) {
	h.t.Helper()
	s := &store{}
	c := h.agent(cluster, uid, s)
	token := h.token(cluster)
	h.registry.accept(cluster, true)
	if err := c.Join(h.t.Context(), token); err != nil {
		h.t.Fatal(err)
	}
	return c, s
}

// leaf is the certificate an agent would show on the link.
func leaf(t *testing.T, c *trust.Client) *x509.Certificate {
	t.Helper()
	cert, err := c.GetClientCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	return cert.Leaf
}

// verifies is what the link asks: the chain, then the key.
func (h *hub) verifies(cert *x509.Certificate) error {
	_, err := cert.Verify(x509.VerifyOptions{
		Roots: h.ca.Pool(), CurrentTime: h.clock.Now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return err
	}
	return h.server.VerifyPeer(h.t.Context(), cert)
}

func wantReason(t *testing.T, err error, want trust.Reason) *trust.Refused {
	t.Helper()
	var refused *trust.Refused
	if !errors.As(err, &refused) || refused.Reason != want {
		t.Fatalf("got %v, want a refusal for %s", err, want)
	}
	return refused
}
