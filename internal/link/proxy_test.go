package link

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

// newProxy is an HTTP proxy that asks for a password and counts tunnels.
func newProxy(t *testing.T, status int) (*url.URL, *int) {
	t.Helper()
	server, tunnels := proxyServer(t, status, "Basic "+base64.StdEncoding.EncodeToString([]byte("ann:s:cret")))
	server.Start()
	return proxyURL(t, server, url.UserPassword("ann", "s:cret")), tunnels
}

func proxyURL(t *testing.T, server *httptest.Server, user *url.Userinfo) *url.URL {
	t.Helper()
	t.Cleanup(server.CloseClientConnections)
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	u.User = user
	return u
}

// proxyServer opens tunnels for who shows the authorization.
func proxyServer(t *testing.T, status int, authorization string) (*httptest.Server, *int) {
	t.Helper()
	tunnels := new(int)
	return httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method != http.MethodConnect:
			http.Error(w, "CONNECT only", http.StatusMethodNotAllowed)
			return
		case r.Header.Get("Proxy-Authorization") != authorization:
			w.WriteHeader(http.StatusProxyAuthRequired)
			return
		case status != http.StatusOK:
			w.WriteHeader(status)
			return
		}
		upstream, err := net.Dial("tcp", r.Host)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		*tunnels++
		client, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		fmt.Fprint(client, "HTTP/1.1 200 Connection established\r\n\r\n")
		go func() {
			_, _ = io.Copy(upstream, client)
			_ = upstream.Close()
		}()
		_, _ = io.Copy(client, upstream)
		_ = client.Close()
	})), tunnels
}

func TestTheLinkGoesThroughAProxy(t *testing.T) {
	p := open(t, Config{Renew: &recorder{}})
	proxy, tunnels := newProxy(t, http.StatusOK)
	c := p.dialConfig(p.authority.leaf(t, "eu-1", time.Hour))
	c.ProxyURL = proxy
	agent, err := Dial(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer agent.Close(nil)
	hub := <-p.sessions
	if err := agent.Send(t.Context(), heartbeat(1)); err != nil {
		t.Fatal(err)
	}
	if _, err := hub.Recv(t.Context()); err != nil {
		t.Fatal(err)
	}
	client := RenewClient(c)
	defer client.CloseIdleConnections()
	resp, err := client.Post("https://hub/v0/challenge", "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if *tunnels != 2 {
		t.Errorf("%d tunnels through the proxy, want one for the link and one for renewal", *tunnels)
	}
}

func TestTheProxyOfTheEnvironmentIsUsed(t *testing.T) {
	proxy, _ := newProxy(t, http.StatusForbidden)
	t.Setenv("HTTPS_PROXY", proxy.String())
	t.Setenv("NO_PROXY", "direct.example.com")
	c := DialConfig{Address: "hub.example.com:7444"}
	if got, err := c.proxy(); err != nil || got == nil || got.Host != proxy.Host {
		t.Errorf("got %v, %v", got, err)
	}
	c.Address = "direct.example.com:7444"
	if got, err := c.proxy(); err != nil || got != nil {
		t.Errorf("got %v, %v for an address of NO_PROXY", got, err)
	}
}

func TestAProxyThatRefusesIsNamed(t *testing.T) {
	p := open(t, Config{})
	dial := func(proxy *url.URL) error {
		c := p.dialConfig(p.authority.leaf(t, "eu-1", time.Hour))
		c.ProxyURL = proxy
		_, err := Dial(t.Context(), c)
		return err
	}
	forbidding, _ := newProxy(t, http.StatusForbidden)
	stranger := *forbidding
	stranger.User = nil
	for name, c := range map[string]struct {
		proxy *url.URL
		words string
	}{
		"forbidden":   {forbidding, "403 Forbidden"},
		"no password": {&stranger, "user and password"},
		"not HTTP":    {&url.URL{Scheme: "socks5", Host: "127.0.0.1:1"}, "http:// or https://"},
		"not there":   {&url.URL{Scheme: "http", Host: "127.0.0.1:1"}, "127.0.0.1:1"},
		"talks first": {talker(t, "HTTP/1.1 200 OK\r\n\r\nnoise"), "of its own"},
		"never ends":  {talker(t, "HTTP/1.1 200 OK\r\nX: "+strings.Repeat("x", 2*maxProxyAnswer)), "ask for"},
	} {
		err := dial(c.proxy)
		if err == nil || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && strings.Contains(err.Error(), "s:cret") {
			t.Errorf("%s: the error tells the password: %v", name, err)
		}
	}
}

// talker answers every connection with the same words.
func talker(t *testing.T, words string) *url.URL {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, words)
			go func() { _, _ = io.Copy(io.Discard, conn) }()
		}
	}()
	return &url.URL{Scheme: "http", Host: l.Addr().String()}
}

func TestASilentProxyEndsWithTheTimeout(t *testing.T) {
	p := open(t, Config{})
	c := p.dialConfig(p.authority.leaf(t, "eu-1", time.Hour))
	c.ProxyURL, c.Timeout = talker(t, ""), 50*time.Millisecond
	if _, err := Dial(t.Context(), c); err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
