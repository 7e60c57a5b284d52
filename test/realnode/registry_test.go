package realnode_test

import (
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"time"

	ggcr "github.com/google/go-containerregistry/pkg/registry"

	"atoll.dev/atoll/internal/apiserver/pki"
)

// registry serves on the machine with TLS by an authority that nobody else
// knows; pods reach it at the machine's address.
type registry struct {
	handler   http.Handler
	address   string
	authority []byte // PEM
}

func (b *bed) registry() *registry {
	b.t.Helper()
	machine := b.cluster.State().MachineIP()
	authority, err := pki.OpenAuthority(b.t.TempDir(), "registry", "registry")
	if err != nil {
		b.t.Fatal(err)
	}
	certificate, key, err := authority.Issue(pki.Leaf{CommonName: "registry", Hosts: []string{machine}, Lifetime: time.Hour})
	if err != nil {
		b.t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		b.t.Fatal(err)
	}
	quiet := log.New(io.Discard, "", 0)
	r := &registry{handler: ggcr.New(ggcr.Logger(quiet)), authority: authority.CertPEM}
	server := httptest.NewUnstartedServer(r.handler)
	server.TLS, server.Config.ErrorLog = &tls.Config{Certificates: []tls.Certificate{pair}}, quiet
	server.StartTLS()
	b.t.Cleanup(server.Close)
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		b.t.Fatal(err)
	}
	r.address = net.JoinHostPort(machine, port)
	return r
}

// location is where the hub's content goes.
func (r *registry) location() string { return "oci://" + r.address + "/fleet" }

// catalog is the registry's list of what it holds.
func (r *registry) catalog() string {
	answer := httptest.NewRecorder()
	r.handler.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/v2/_catalog", nil))
	return answer.Body.String()
}
