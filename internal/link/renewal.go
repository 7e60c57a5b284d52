package link

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"
)

// maxRenewBody is in bytes; a request holds a CSR, two keys and a signature.
const maxRenewBody = 64 << 10

// renewal serves HTTP/1.1 on connections that negotiated wire.ProtoRenew. It
// is the listener of its own server.
type renewal struct {
	server *http.Server
	addr   net.Addr
	conns  chan net.Conn
	done   chan struct{}
	close  func()
}

func newRenewal(handler http.Handler, addr net.Addr) *renewal {
	if handler == nil {
		handler = http.NotFoundHandler()
	}
	r := &renewal{addr: addr, conns: make(chan net.Conn), done: make(chan struct{})}
	r.server = &http.Server{
		Handler:           http.MaxBytesHandler(handler, maxRenewBody),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      20 * time.Second,
		IdleTimeout:       10 * time.Second,
		MaxHeaderBytes:    8 << 10,
		ErrorLog:          silent,
		ConnContext:       withPeer,
	}
	r.close = sync.OnceFunc(func() {
		close(r.done)
		_ = r.server.Close() // a cut-off renewal is repeated by its agent
	})
	return r
}

func (r *renewal) serve() {
	_ = r.server.Serve(listenerOf{r}) // ends by close only
}

type peerKey struct{}

func withPeer(ctx context.Context, c net.Conn) context.Context {
	renewing, ok := c.(*renewConn)
	if !ok {
		return ctx
	}
	if conn, ok := renewing.Conn.(*tls.Conn); ok {
		if shown := conn.ConnectionState().PeerCertificates; len(shown) > 0 {
			return context.WithValue(ctx, peerKey{}, shown[0])
		}
	}
	return ctx
}

// RenewPeer is the certificate that a caller of the renewal handler showed, nil
// without one. The caller has its key; who signed it, and whether it is good
// still, nobody has looked at.
func RenewPeer(ctx context.Context) *x509.Certificate {
	cert, _ := ctx.Value(peerKey{}).(*x509.Certificate)
	return cert
}

// offer hands over a connection; it keeps its place among the unproven until
// it is closed.
func (r *renewal) offer(conn *tls.Conn, release func()) {
	c := &renewConn{Conn: conn, release: release}
	select {
	case r.conns <- c:
	case <-r.done:
		_ = c.Close()
	}
}

// renewConn hides from net/http that this is TLS: the server would look for a
// handler of the ALPN protocol and, finding none, hang up.
type renewConn struct {
	net.Conn
	release func()
}

func (c *renewConn) Close() error {
	defer c.release()
	return c.Conn.Close()
}

type listenerOf struct{ *renewal }

func (l listenerOf) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, errors.New("the agents' port is closed")
	}
}

func (l listenerOf) Close() error   { return nil }
func (l listenerOf) Addr() net.Addr { return l.addr }
