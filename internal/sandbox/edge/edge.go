package edge

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// requestTimeout bounds how long a caller of the proxy may take to say where
// to.
const requestTimeout = 30 * time.Second

// Addresses are host:port each.
type Addresses struct {
	// API is where the outside finds the API server, which listens on Target.
	API, Target string
	// Proxy is where what dials out finds the HTTP CONNECT proxy.
	Proxy string
}

// Edge is one cluster's.
type Edge struct {
	// In is how the outside dials the cluster, Out how the cluster dials out.
	In, Out *Line

	addresses  Addresses
	api, proxy net.Listener
}

// Listen opens both ports and serves them until Close.
func Listen(a Addresses) (*Edge, error) {
	api, err := net.Listen("tcp", a.API)
	if err != nil {
		return nil, fmt.Errorf("open the outside of an API server: %w", err)
	}
	proxy, err := net.Listen("tcp", a.Proxy)
	if err != nil {
		api.Close()
		return nil, fmt.Errorf("open the proxy of a cluster: %w", err)
	}
	e := &Edge{In: newLine(), Out: newLine(), addresses: a, api: api, proxy: proxy}
	go accept(api, func(conn *net.TCPConn) { e.In.carry(conn, conn, a.Target, answers{}) })
	go accept(proxy, e.connect)
	return e, nil
}

// Close ends the ports and every connection.
func (e *Edge) Close() error {
	err := errors.Join(e.api.Close(), e.proxy.Close())
	e.In.abortAll()
	e.Out.abortAll()
	return err
}

func accept(l net.Listener, serve func(*net.TCPConn)) {
	for {
		conn, err := l.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil: // too many open files: others will end
			time.Sleep(100 * time.Millisecond)
		default:
			go serve(conn.(*net.TCPConn))
		}
	}
}

// connect serves one caller of the proxy (RFC 9110, section 9.3.6).
func (e *Edge) connect(conn *net.TCPConn) {
	defer conn.Close()
	if condition, _ := e.Out.now(); condition.Cut == Reset {
		_ = conn.SetLinger(0)
		return
	}
	_ = conn.SetReadDeadline(time.Now().Add(requestTimeout))
	buffered := bufio.NewReader(conn)
	request, err := http.ReadRequest(buffered)
	if err != nil {
		return
	}
	if request.Method != http.MethodConnect {
		fmt.Fprint(conn, "HTTP/1.1 405 Method Not Allowed\r\nAllow: CONNECT\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		return
	}
	_ = conn.SetReadDeadline(time.Time{})
	e.Out.carry(conn, buffered, request.Host, answers{
		reached:   "HTTP/1.1 200 Connection established\r\n\r\n",
		unreached: "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
	})
}
