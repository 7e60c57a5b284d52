package trust

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"
)

// gatewayLife is short because renewing costs nothing: it happens in memory.
const gatewayLife = 7 * 24 * time.Hour

// maxCross bounds the announcements sent in a handshake; an agent that missed
// more rotations must join again.
const maxCross = 8

// Gateway is the certificate of the agents' port, renewed as it ages and when
// the authority rotates.
type Gateway struct {
	ca    *CA
	names []string
	key   *ecdsa.PrivateKey

	mu   sync.Mutex
	cert *tls.Certificate
	seq  uint64    // of the authority when cert was made
	due  time.Time // when to renew cert
}

// Gateway makes the certificate for the names and addresses that agents dial.
func (ca *CA) Gateway(names []string) (*Gateway, error) {
	if len(names) == 0 {
		return nil, fmt.Errorf("make gateway certificate: it needs the name that agents dial")
	}
	key, err := newKey()
	if err != nil {
		return nil, fmt.Errorf("make gateway certificate: %w", err)
	}
	g := &Gateway{ca: ca, names: slices.Clone(names), key: key}
	_, err = g.GetCertificate(nil)
	return g, err
}

// GetCertificate is for tls.Config.
func (g *Gateway) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	g.ca.mu.Lock()
	defer g.ca.mu.Unlock()
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.ca.now()
	if g.cert != nil && g.seq == g.ca.sequence && now.Before(g.due) {
		return g.cert, nil
	}
	cert, err := g.issue(now)
	if err != nil {
		return nil, fmt.Errorf("make gateway certificate: %w", err)
	}
	g.cert, g.seq, g.due = cert, g.ca.sequence, now.Add(gatewayLife*2/3)
	return cert, nil
}

func (g *Gateway) issue(now time.Time) (*tls.Certificate, error) {
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "atoll gateway"},
		NotBefore:   now.Add(-time.Hour), // agents' clocks may be behind
		NotAfter:    now.Add(gatewayLife),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, name := range g.names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := g.ca.current.sign(template, &g.key.PublicKey)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	cert := &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: g.key, Leaf: leaf}
	chain, err := g.ca.crossChain()
	cert.Certificate = append(cert.Certificate, chain...)
	return cert, err
}

// crossChain leads from the current root back to older ones, so that an agent
// which pins an old root verifies the gateway. The last announcement is of the
// next root and not part of it.
func (ca *CA) crossChain() ([][]byte, error) {
	past := ca.announcements[:len(ca.announcements)-1]
	var chain [][]byte
	for _, a := range slices.Backward(past[max(0, len(past)-maxCross):]) {
		cross, err := parseCertificate(a.Cross)
		if err != nil {
			return nil, err
		}
		chain = append(chain, cross.Raw)
	}
	return chain, nil
}
