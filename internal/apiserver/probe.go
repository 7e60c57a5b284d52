package apiserver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"

	"golang.org/x/net/http2"
)

// probeTimeout is for one server of the store.
const probeTimeout = 3 * time.Second

// A store of which every server fails this often, so long apart, is not just
// starting.
const (
	probes     = 3
	probePause = time.Second
)

// giveUp cancels the attempt to reach a store that no server of lets us in:
// etcd's client would try until time is up.
func (s store) giveUp(ctx context.Context, cancel context.CancelFunc) {
	for range probes {
		if len(s.reasons(ctx)) < len(s.servers) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(probePause):
		}
	}
	cancel()
}

// explain adds to an error what keeps this machine from each server of the
// store, which etcd's client does not say.
func (s store) explain(err error) error {
	// A context of its own: the attempt's is over.
	reasons := s.reasons(context.Background())
	if len(reasons) == 0 {
		return err
	}
	return fmt.Errorf("the store cannot be reached: %w", errors.Join(reasons...))
}

// reasons are of the servers that do not let us in.
func (s store) reasons(ctx context.Context) []error {
	var reasons []error
	for _, server := range s.servers {
		if err := s.probe(ctx, server); err != nil {
			reasons = append(reasons, fmt.Errorf("%s: %w", server, err))
		}
	}
	return reasons
}

// probe connects as far as the server lets it.
func (s store) probe(ctx context.Context, server string) error {
	at, err := url.Parse(server)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	network, address := "tcp", at.Host
	if at.Scheme == "unix" {
		network, address = "unix", at.Path
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // Nothing is written that matters.
	if at.Scheme != "https" {
		return nil
	}
	config, err := s.tls()
	if err != nil {
		return err
	}
	config.ServerName, config.NextProtos = at.Hostname(), []string{http2.NextProtoTLS}
	secured := tls.Client(conn, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		return err
	}
	return greet(secured)
}

// greet begins HTTP/2. In TLS 1.3 the server judges the client's certificate
// after the client's handshake is over, so its verdict comes with the answer.
func greet(conn net.Conn) error {
	if err := conn.SetDeadline(time.Now().Add(probeTimeout)); err != nil {
		return err
	}
	// A server that has refused already makes a write fail. That is not the news:
	// its reason can still be read.
	_, _ = conn.Write([]byte(http2.ClientPreface))
	framer := http2.NewFramer(conn, conn)
	_ = framer.WriteSettings()
	_, err := framer.ReadFrame()
	return err
}
