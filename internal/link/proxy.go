package link

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/net/http/httpproxy"
)

// maxProxyAnswer is in bytes.
const maxProxyAnswer = 16 << 10

// connect reaches the hub's port, directly or through a proxy.
func (c DialConfig) connect(ctx context.Context) (net.Conn, error) {
	proxy, err := c.proxy()
	if err != nil {
		return nil, err
	}
	if proxy == nil {
		return dialTCP(ctx, c.Address)
	}
	conn, err := dialProxy(ctx, proxy)
	if err != nil {
		return nil, fmt.Errorf("reach proxy %s: %w", proxy.Host, err)
	}
	// HandshakeContext and CONNECT must both end with the context.
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	tunnel, err := connectThrough(conn, proxy, c.Address)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("through proxy %s: %w", proxy.Host, err)
	}
	return tunnel, nil
}

func (c DialConfig) proxy() (*url.URL, error) {
	if c.ProxyURL != nil {
		return c.ProxyURL, nil
	}
	proxy, err := httpproxy.FromEnvironment().ProxyFunc()(&url.URL{Scheme: "https", Host: c.Address})
	if err != nil {
		return nil, fmt.Errorf("read HTTPS_PROXY: %w", err)
	}
	return proxy, nil
}

func dialTCP(ctx context.Context, address string) (net.Conn, error) {
	d := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: time.Minute, Interval: 15 * time.Second, Count: 4}}
	return d.DialContext(ctx, "tcp", address)
}

func dialProxy(ctx context.Context, proxy *url.URL) (net.Conn, error) {
	switch proxy.Scheme {
	case "http":
		return dialTCP(ctx, hostPort(proxy, "80"))
	case "https":
		conn, err := dialTCP(ctx, hostPort(proxy, "443"))
		if err != nil {
			return nil, err
		}
		// The proxy's certificate is the system's matter; the hub's own is
		// verified inside.
		secure := tls.Client(conn, &tls.Config{MinVersion: tls.VersionTLS12, ServerName: proxy.Hostname()})
		if err := secure.HandshakeContext(ctx); err != nil {
			_ = conn.Close()
			return nil, untrusted(err)
		}
		return secure, nil
	}
	return nil, fmt.Errorf("a proxy is http:// or https://, not %s://", proxy.Scheme)
}

// untrusted adds what helps to why a proxy's TLS failed.
func untrusted(err error) error {
	if authority := (x509.UnknownAuthorityError{}); errors.As(err, &authority) {
		return fmt.Errorf("its certificate is of an authority that is not trusted here; add that to the system's, or name a file with it in SSL_CERT_FILE: %w", err)
	}
	if record := (tls.RecordHeaderError{}); errors.As(err, &record) {
		return fmt.Errorf("it does not speak TLS; write its URL with http://: %w", err)
	}
	return err
}

func hostPort(u *url.URL, port string) string {
	if p := u.Port(); p != "" {
		port = p
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// connectThrough asks for a tunnel (RFC 9110, section 9.3.6).
func connectThrough(conn net.Conn, proxy *url.URL, address string) (net.Conn, error) {
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: address}, Host: address, Header: http.Header{}}
	if user := proxy.User; user != nil {
		password, _ := user.Password()
		req.Header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(user.Username()+":"+password)))
	}
	if err := req.Write(conn); err != nil {
		return nil, fmt.Errorf("ask for %s: %w", address, err)
	}
	limited := &io.LimitedReader{R: conn, N: maxProxyAnswer}
	buffered := bufio.NewReader(limited)
	resp, err := http.ReadResponse(buffered, req)
	if err != nil {
		return nil, fmt.Errorf("ask for %s: %w", address, err)
	}
	switch {
	case resp.StatusCode == http.StatusProxyAuthRequired && proxy.User != nil:
		return nil, fmt.Errorf("it refuses user %s with the password in the proxy's URL", proxy.User.Username())
	case resp.StatusCode == http.StatusProxyAuthRequired:
		return nil, fmt.Errorf("it asks for a user and password: put them into the proxy's URL")
	case resp.StatusCode/100 != 2:
		return nil, fmt.Errorf("it does not let %s through: %s", address, resp.Status)
	case buffered.Buffered() > 0:
		// In TLS the client speaks first: whatever came is not the hub's.
		return nil, fmt.Errorf("it sent %d bytes of its own", buffered.Buffered())
	}
	return conn, nil
}
