package link

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"atoll.dev/atoll/internal/wire"
)

// DialConfig says how an agent reaches its hub.
type DialConfig struct {
	// Address is the hub's "host:port".
	Address string
	// ServerName is the name the hub's certificate must have; default Address's host.
	ServerName string
	// Roots verify the hub; asked at every dial.
	Roots func() *x509.CertPool
	// GetClientCertificate proves the agent; asked at every dial.
	GetClientCertificate func(*tls.CertificateRequestInfo) (*tls.Certificate, error)
	// ProxyURL is an HTTP proxy ("http://user:password@proxy:3128"); nil means
	// HTTPS_PROXY and NO_PROXY of the environment.
	ProxyURL *url.URL
	// Timeout bounds connecting and the handshake; default 15 s.
	Timeout time.Duration
	// Streams is how many streams the hub may have open; default 128.
	Streams int
	// Now is the clock that certificates are checked by; default time.Now.
	Now func() time.Time
}

func (c DialConfig) timeout() time.Duration {
	if c.Timeout == 0 {
		return 15 * time.Second
	}
	return c.Timeout
}

// Dial makes a link to the hub. The first message is the caller's Hello; a
// hub that refuses says so in its answer.
func Dial(ctx context.Context, c DialConfig) (*Session, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout())
	defer cancel()
	conn, err := c.dialTLS(ctx, wire.ProtoLink)
	if err != nil {
		return nil, err
	}
	m, err := newAgentMux(smallRecords{conn})
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	control, err := m.open()
	if err != nil {
		_ = m.Close()
		return nil, fmt.Errorf("open control stream to hub %s: %w", c.Address, err)
	}
	streams := c.Streams
	if streams == 0 {
		streams = Limits{}.withDefaults().Streams
	}
	return newSession(m, control, conn, streams), nil
}

// RenewClient is an HTTP client whose every request, whatever its host, goes
// to the hub's joining and renewal endpoint.
func RenewClient(c DialConfig) *http.Client {
	return &http.Client{
		Timeout: 2 * c.timeout(),
		Transport: &http.Transport{
			DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				ctx, cancel := context.WithTimeout(ctx, c.timeout())
				defer cancel()
				return c.dialTLS(ctx, wire.ProtoRenew)
			},
			MaxIdleConns:           1,
			IdleConnTimeout:        5 * time.Second, // less than the hub's, so that a request never meets a closed connection
			ResponseHeaderTimeout:  c.timeout(),
			MaxResponseHeaderBytes: 8 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func (c DialConfig) dialTLS(ctx context.Context, proto string) (*tls.Conn, error) {
	host, _, err := net.SplitHostPort(c.Address)
	if err != nil {
		return nil, fmt.Errorf("dial hub: address %q: %w", c.Address, err)
	}
	raw, err := c.connect(ctx)
	if err != nil {
		return nil, fmt.Errorf("dial hub %s: %w", c.Address, err)
	}
	cfg := &tls.Config{
		MinVersion:           tls.VersionTLS13,
		NextProtos:           []string{proto},
		ServerName:           host,
		RootCAs:              c.Roots(),
		GetClientCertificate: c.GetClientCertificate,
		Time:                 c.Now,
	}
	if c.ServerName != "" {
		cfg.ServerName = c.ServerName
	}
	conn := tls.Client(raw, cfg)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		if words := clockWords(err, cfg); words != "" {
			return nil, fmt.Errorf("dial hub %s: %s: %w", c.Address, words, err)
		}
		return nil, fmt.Errorf("dial hub %s: TLS handshake: %w", c.Address, err)
	}
	return conn, nil
}

// recordSize is the most an agent puts into one TLS record.
const recordSize = 4 << 10

// smallRecords keeps the hub small: a TLS connection never gives back the
// buffer of the largest record it has read, and every agent once sends a long
// report. It saves 15 KiB a link.
type smallRecords struct{ net.Conn }

func (c smallRecords) Write(p []byte) (int, error) {
	total := 0
	for {
		piece := p[total:min(len(p), total+recordSize)]
		n, err := c.Conn.Write(piece)
		if total += n; err != nil || total == len(p) {
			return total, err
		}
	}
}
