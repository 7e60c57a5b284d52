package pki

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"net"
	"slices"
	"time"
)

// Leaf says what a certificate is to carry.
type Leaf struct {
	CommonName string
	// Groups become the subject's organizations, which Kubernetes reads as groups.
	Groups []string
	// Hosts are DNS names and IP addresses; with any, it is a server's
	// certificate, without, a client's.
	Hosts    []string
	Lifetime time.Duration
}

// Issue makes a key and signs a certificate for it; both are PEM.
func (a *Authority) Issue(leaf Leaf) (certPEM, keyPEM []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make the key of %s: %w", leaf.CommonName, err)
	}
	template, err := leaf.template(time.Now())
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.Certificate, key.Public(), a.key)
	if err != nil {
		return nil, nil, fmt.Errorf("sign the certificate of %s: %w", leaf.CommonName, err)
	}
	keyPEM, err = encodeKey(key)
	return encodeCertificate(der), keyPEM, err
}

func (l Leaf) template(now time.Time) (*x509.Certificate, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	names, addresses := splitHosts(l.Hosts)
	usage := x509.ExtKeyUsageClientAuth
	if len(l.Hosts) > 0 {
		usage = x509.ExtKeyUsageServerAuth
	}
	return &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: l.CommonName, Organization: l.Groups},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(l.Lifetime),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{usage},
		BasicConstraintsValid: true,
		DNSNames:              names,
		IPAddresses:           addresses,
	}, nil
}

// StillGood reports whether the certificate in certPEM was signed by this
// authority, carries exactly what leaf asks for, and stays valid for at least
// spare from now on.
func (a *Authority) StillGood(certPEM []byte, leaf Leaf, spare time.Duration, now time.Time) bool {
	cert, err := parseCertificate(certPEM)
	if err != nil || cert.CheckSignatureFrom(a.Certificate) != nil {
		return false
	}
	if now.Before(cert.NotBefore) || cert.NotAfter.Before(now.Add(spare)) {
		return false
	}
	names, addresses := splitHosts(leaf.Hosts)
	return cert.Subject.CommonName == leaf.CommonName &&
		sameSet(cert.Subject.Organization, leaf.Groups) &&
		sameSet(cert.DNSNames, names) &&
		slices.EqualFunc(cert.IPAddresses, addresses, net.IP.Equal)
}

func splitHosts(hosts []string) (names []string, addresses []net.IP) {
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			addresses = append(addresses, ip)
		} else {
			names = append(names, host)
		}
	}
	// One order, so that the same hosts named in another order keep the certificate.
	slices.Sort(names)
	slices.SortFunc(addresses, func(x, y net.IP) int { return bytes.Compare(x.To16(), y.To16()) })
	return slices.Compact(names), slices.CompactFunc(addresses, net.IP.Equal)
}

func sameSet(x, y []string) bool {
	x, y = slices.Clone(x), slices.Clone(y)
	slices.Sort(x)
	slices.Sort(y)
	return slices.Equal(x, y)
}
