package link

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// systemAuthority is the one that this process trusts, made once: a process
// reads its system's authorities once.
var (
	systemAuthority *authority
	trustOnce       sync.Once
)

func trustedBySystem(t *testing.T) *authority {
	t.Helper()
	trustOnce.Do(func() {
		systemAuthority = newAuthority(t)
		file := filepath.Join(t.TempDir(), "authorities.pem")
		data := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: systemAuthority.cert.Raw})
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		t.Setenv("SSL_CERT_FILE", file)
		// Read it now, while it is set.
		leaf := systemAuthority.leaf(t, "proxy", time.Hour).Leaf
		if _, err := leaf.Verify(x509.VerifyOptions{}); err != nil {
			t.Skipf("this system does not heed SSL_CERT_FILE: %v", err)
		}
	})
	return systemAuthority
}

func secured(t *testing.T, certificate *tls.Certificate, authorization string, user *url.Userinfo) (*url.URL, *int) {
	t.Helper()
	server, tunnels := proxyServer(t, http.StatusOK, authorization)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{*certificate}}
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // refused handshakes are the test
	server.StartTLS()
	return proxyURL(t, server, user), tunnels
}

func TestTheLinkGoesThroughAProxyThatSpeaksTLS(t *testing.T) {
	certificate := trustedBySystem(t).leaf(t, "proxy", time.Hour)
	p := open(t, Config{})
	ann := url.UserPassword("ann", "s:cret")
	for name, c := range map[string]struct {
		authorization string
		user          *url.Userinfo
	}{
		"open to all":     {"", nil},
		"with a password": {"Basic YW5uOnM6Y3JldA==", ann},
	} {
		proxy, tunnels := secured(t, certificate, c.authorization, c.user)
		d := p.dialConfig(p.authority.leaf(t, "eu-1", time.Hour))
		d.ProxyURL = proxy
		agent, err := Dial(t.Context(), d)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		hub := <-p.sessions
		if err := agent.Send(t.Context(), heartbeat(1)); err != nil {
			t.Error(err)
		}
		if _, err := hub.Recv(t.Context()); err != nil {
			t.Error(err)
		}
		agent.Close(nil)
		if *tunnels != 1 {
			t.Errorf("%s: %d tunnels", name, *tunnels)
		}
	}
}

func TestAProxyWhoseTLSFailsIsSaidWithWhatHelps(t *testing.T) {
	trusted := trustedBySystem(t)
	p := open(t, Config{})
	ann, bob := url.UserPassword("ann", "s:cret"), url.UserPassword("bob", "s:cret")
	const asksForAnn = "Basic YW5uOnM6Y3JldA=="
	foreign, _ := secured(t, newAuthority(t).leaf(t, "proxy", time.Hour), asksForAnn, ann)
	expired, _ := secured(t, trusted.leaf(t, "proxy", -time.Minute), asksForAnn, ann)
	misnamed, _ := secured(t, trusted.leaf(t, "proxy", time.Hour), asksForAnn, ann)
	misnamed.Host = strings.Replace(misnamed.Host, "127.0.0.1", "localhost", 1)
	stranger, _ := secured(t, trusted.leaf(t, "proxy", time.Hour), asksForAnn, bob)
	plain, _ := newProxy(t, http.StatusOK)
	plain.Scheme = "https"
	for name, c := range map[string]struct {
		proxy *url.URL
		words []string
	}{
		"another authority": {foreign, []string{"authority that is not trusted here", "SSL_CERT_FILE"}},
		"expired":           {expired, []string{"expired"}},
		"another name":      {misnamed, []string{"localhost"}},
		"another user":      {stranger, []string{"refuses user bob"}},
		"no TLS at all":     {plain, []string{"write its URL with http://"}},
	} {
		d := p.dialConfig(p.authority.leaf(t, "eu-1", time.Hour))
		d.ProxyURL = c.proxy
		_, err := Dial(t.Context(), d)
		for _, word := range append(c.words, c.proxy.Host) {
			if err == nil || !strings.Contains(err.Error(), word) {
				t.Errorf("%s: %v, want %q", name, err, word)
			}
		}
		if err != nil && strings.Contains(err.Error(), "s:cret") {
			t.Errorf("%s: the error tells the password: %v", name, err)
		}
	}
}
