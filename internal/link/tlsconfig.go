package link

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"slices"
	"sync"
	"time"

	"atoll.dev/atoll/internal/wire"
)

// tlsConfigs builds the TLS settings of the agents' port. Which of the two
// protocols a client names decides what is asked of its certificate, and the
// settings of one never offer the other, so that no client gets the link with
// the certificate rules of renewal.
type tlsConfigs struct {
	getCertificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	roots          func() *x509.CertPool
	now            func() time.Time

	renew *tls.Config

	mu   sync.Mutex
	pool *x509.CertPool // of link
	link *tls.Config
}

func newTLSConfigs(cfg Config) *tlsConfigs {
	c := &tlsConfigs{getCertificate: cfg.GetCertificate, roots: cfg.Roots, now: cfg.Now}
	c.renew = c.base(wire.ProtoRenew)
	c.renew.ClientAuth = tls.RequestClientCert
	return c
}

func (c *tlsConfigs) base(proto string) *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS13,
		NextProtos:     []string{proto},
		GetCertificate: c.getCertificate,
		Time:           c.now,
		// A resumed session would skip a look at the certificate and keep a
		// revoked agent connected; links are made too rarely to save by it.
		SessionTicketsDisabled: true,
	}
}

// server is the configuration to listen with.
func (c *tlsConfigs) server() *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		SessionTicketsDisabled: true,
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			switch {
			case slices.Contains(hello.SupportedProtos, wire.ProtoLink):
				return c.forLink(), nil
			case slices.Contains(hello.SupportedProtos, wire.ProtoRenew):
				return c.renew, nil
			}
			return nil, fmt.Errorf("the client speaks neither %s nor %s", wire.ProtoLink, wire.ProtoRenew)
		},
	}
}

// forLink is one shared configuration until the roots change: every
// connection keeps its configuration for as long as it lives.
func (c *tlsConfigs) forLink() *tls.Config {
	pool := c.roots()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link == nil || c.pool != pool {
		c.pool, c.link = pool, c.base(wire.ProtoLink)
		c.link.ClientAuth = tls.RequireAndVerifyClientCert
		c.link.ClientCAs = pool
	}
	return c.link
}
