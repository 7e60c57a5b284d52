package apiserver

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/group"
	"k8s.io/apiserver/pkg/authentication/request/headerrequest"
	"k8s.io/apiserver/pkg/authentication/request/union"
	genericoptions "k8s.io/apiserver/pkg/server/options"

	"atoll.dev/atoll/internal/apiserver/pki"
)

// peerName is in the certificate that hubs of one store show each other, signed
// by the authority whose key they share. Who shows it is believed about the
// callers that its X-Remote headers name; it has no right of its own.
const peerName = "atoll:hub"

// peerHost is in every hub's serving certificate. What counts is who signed it:
// addresses of replicas change, and any hub of the store may lead.
const peerHost = "localhost"

// peerDial is how long a hub may take to answer the call of another.
const peerDial = 5 * time.Second

// trustPeers is to go beside other ways of authentication; from everybody else
// the headers are dropped unread.
func trustPeers(o *genericoptions.RequestHeaderAuthenticationOptions, keys keysDir) {
	o.ClientCAFile = keys.authorityFile()
	o.AllowedNames = []string{peerName}
	o.UsernameHeaders, o.UIDHeaders = []string{"X-Remote-User"}, []string{"X-Remote-Uid"}
	o.GroupHeaders, o.ExtraHeaderPrefixes = []string{"X-Remote-Group"}, []string{"X-Remote-Extra-"}
}

// withPeers knows the callers whom other hubs name, before those whom others know.
func withPeers(others authenticator.Request, keys keysDir) (authenticator.Request, error) {
	o := &genericoptions.RequestHeaderAuthenticationOptions{}
	trustPeers(o, keys)
	config, err := o.ToAuthenticationRequestHeaderConfig()
	if err != nil {
		return nil, fmt.Errorf("prepare to know other hubs of the store: %w", err)
	}
	peers := headerrequest.NewDynamicVerifyOptionsSecure(config.CAContentProvider.VerifyOptions, config.AllowedClientNames,
		config.UsernameHeaders, config.UIDHeaders, config.GroupHeaders, config.ExtraHeaderPrefixes)
	return union.New(group.NewAuthenticatedGroupAdder(peers), others), nil
}

// peerTransport calls another hub of the store. It speaks HTTP/1.1, where a
// connection can become a stream, as logs, exec and port-forward need.
func peerTransport(authority *pki.Authority) http.RoundTripper {
	roots := x509.NewCertPool()
	roots.AddCert(authority.Certificate)
	self := &peerCertificate{authority: authority}
	return &http.Transport{
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: roots, ServerName: peerHost, GetClientCertificate: self.get},
		DialContext:         (&net.Dialer{Timeout: peerDial}).DialContext,
		TLSHandshakeTimeout: peerDial,
		IdleConnTimeout:     time.Minute,
		// The leader's words pass as they are.
		DisableCompression: true,
	}
}

// peerCertificate is never in a file: each process makes its own.
type peerCertificate struct {
	authority *pki.Authority

	mu   sync.Mutex
	cert *tls.Certificate
	due  time.Time
}

// get is asked at each new connection.
func (p *peerCertificate) get(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if p.cert != nil && now.Before(p.due) {
		return p.cert, nil
	}
	certPEM, keyPEM, err := p.authority.Issue(pki.Leaf{CommonName: peerName, Lifetime: servingLifetime})
	if err != nil {
		return nil, err
	}
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("read the certificate for other hubs: %w", err)
	}
	p.cert, p.due = &cert, now.Add(servingLifetime/2)
	return p.cert, nil
}

// peerAddress is where other hubs reach a listener: as told, else where it
// listens, and if that is everywhere, at an address of this machine's name.
func (o *Options) peerAddress(listener net.Listener) string {
	if o.PeerAddress != "" {
		return o.PeerAddress
	}
	at := listener.Addr().(*net.TCPAddr)
	if !at.IP.IsUnspecified() {
		return at.String()
	}
	return net.JoinHostPort(machineHost(), fmt.Sprint(at.Port))
}

// machineHost is an address where the machine's name has one that others reach,
// as in a pod.
func machineHost() string {
	name, err := os.Hostname()
	if err != nil {
		return "localhost" // a machine without a name is told by --peer-address
	}
	addresses, _ := net.LookupIP(name) // the name itself serves then
	for _, ip := range addresses {
		if !ip.IsLoopback() && !ip.IsLinkLocalUnicast() {
			return ip.String()
		}
	}
	return name
}

// PeerAddress is where other hubs of the store reach this one.
func (s *Server) PeerAddress() string { return s.options.peerAddress(s.listener) }

// PeerTransport calls other hubs of the store.
func (s *Server) PeerTransport() http.RoundTripper { return peerTransport(s.authority) }

// PeerAddress is where other hubs of the store reach this one.
func (h *Host) PeerAddress() string { return h.options.peerAddress(h.listener) }

// PeerTransport calls other hubs of the store.
func (h *Host) PeerTransport() http.RoundTripper { return peerTransport(h.authority) }
