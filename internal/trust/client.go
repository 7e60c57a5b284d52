package trust

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

// maxAnswer is in bytes; each rotation of the authority adds 2 KB of roots.
const maxAnswer = 1 << 20

// ClientConfig says who the agent is before it has an identity, and how it
// reaches the hub.
type ClientConfig struct {
	Store KeyStore
	// Cluster is the name to join as, ClusterUID that of kube-system.
	Cluster    string
	ClusterUID string
	// Roots are those of the join manifest; later ones are in the Store.
	Roots Roots
	// NewSealingKey makes the key for sealed values, at the first start.
	NewSealingKey func() (private []byte, public string, err error)
	AgentVersion  string
	// Connect returns an HTTP client to the hub's renewal endpoint that
	// verifies the hub by roots, which change while it is used.
	Connect func(roots func() *x509.CertPool) *http.Client
	// KeyLife is the age at which Run rotates the key; default 30 days.
	KeyLife time.Duration
	Clock   clock.Clock
	Log     *slog.Logger
}

// Client is the agent's side of the protocol and the holder of its identity.
type Client struct {
	cfg  ClientConfig
	http *http.Client

	renewing sync.Mutex // one request about the identity at a time

	mu   sync.Mutex
	id   Identity
	pool *x509.CertPool
	cert *tls.Certificate // nil before the certificate
}

// OpenClient loads the identity, or makes and saves one: a key is stored
// before the hub ever hears of it, so that a crash never loses an enrolled key.
func OpenClient(ctx context.Context, cfg ClientConfig) (*Client, error) {
	if cfg.Clock == nil {
		cfg.Clock = clock.RealClock{}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.KeyLife == 0 {
		cfg.KeyLife = 30 * 24 * time.Hour
	}
	c := &Client{cfg: cfg}
	id, err := cfg.Store.Load(ctx)
	switch {
	case errors.Is(err, ErrNoIdentity):
		id, err = c.create(ctx)
	case err != nil:
		err = fmt.Errorf("load agent's identity: %w", err)
	case id.Cluster != cfg.Cluster || id.ClusterUID != cfg.ClusterUID:
		err = fmt.Errorf("the stored identity is of cluster %s with kube-system UID %s, this is %s with %s: delete it to join anew",
			id.Cluster, id.ClusterUID, cfg.Cluster, cfg.ClusterUID)
	}
	if err == nil {
		err = c.use(id)
	}
	if err != nil {
		return nil, err
	}
	c.http = cfg.Connect(c.Roots)
	return c, nil
}

func (c *Client) create(ctx context.Context) (Identity, error) {
	id := Identity{Cluster: c.cfg.Cluster, ClusterUID: c.cfg.ClusterUID, Roots: c.cfg.Roots, KeyMade: c.cfg.Clock.Now()}
	var err error
	if id.Key, err = newKey(); err != nil {
		return Identity{}, err
	}
	if id.SealingKey, id.SealingPublic, err = c.cfg.NewSealingKey(); err != nil {
		return Identity{}, fmt.Errorf("make sealing key: %w", err)
	}
	if err := c.cfg.Store.Save(ctx, id); err != nil {
		return Identity{}, fmt.Errorf("save new identity: %w", err)
	}
	return id, nil
}

// use makes id the identity of every connection from now on.
func (c *Client) use(id Identity) error {
	pool, err := id.Roots.Pool()
	if err != nil {
		return fmt.Errorf("use identity of cluster %s: %w", id.Cluster, err)
	}
	var cert *tls.Certificate
	if id.Certificate != "" {
		if cert, err = id.certificate(); err != nil {
			return fmt.Errorf("use identity of cluster %s: %w", id.Cluster, err)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.id, c.pool, c.cert = id, pool, cert
	return nil
}

// Identity is the current one.
func (c *Client) Identity() Identity {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.id
}

// Roots verify the hub.
func (c *Client) Roots() *x509.CertPool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pool
}

// GetClientCertificate is for tls.Config: always the newest.
func (c *Client) GetClientCertificate(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cert == nil {
		return nil, fmt.Errorf("cluster %s has no certificate yet", c.id.Cluster)
	}
	return c.cert, nil
}

// take checks, saves and uses an answer of the hub, in this order.
func (c *Client) take(ctx context.Context, id Identity, certificate string, roots Roots) error {
	id, err := id.withCertificate(certificate, roots, c.cfg.Clock.Now())
	if err != nil {
		return err
	}
	if err := c.cfg.Store.Save(ctx, id); err != nil {
		return fmt.Errorf("save identity: %w", err)
	}
	return c.use(id)
}

func (c *Client) nonce(ctx context.Context, cluster string) (string, error) {
	var challenge Challenge
	err := c.post(ctx, PathChallenge, ChallengeRequest{Cluster: cluster}, &challenge)
	return challenge.Nonce, err
}

// post returns a *Refused when the hub answered with one.
func (c *Client) post(ctx context.Context, path string, body, answer any) error {
	data, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encode %T: %w", body, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://hub"+path, bytes.NewReader(data))
	if err != nil {
		return fmt.Errorf("ask hub for %s: %w", path, err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("ask hub for %s: %w", path, err)
	}
	defer func() { _ = resp.Body.Close() }() // read whole, or of no interest
	data, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("read the hub's answer to %s: %w", path, err)
	}
	if resp.StatusCode != http.StatusOK {
		return refusedBy(path, resp.StatusCode, data)
	}
	if err := json.Unmarshal(data, answer); err != nil {
		return fmt.Errorf("read the hub's answer to %s: %w", path, err)
	}
	return nil
}

func refusedBy(path string, status int, data []byte) error {
	var e ErrorResponse
	if err := json.Unmarshal(data, &e); err != nil || e.Reason == "" {
		return fmt.Errorf("the hub answered %s with status %d", path, status)
	}
	return &Refused{Reason: e.Reason, Message: e.Message, RetryAfter: time.Duration(e.RetryAfterSeconds) * time.Second}
}
