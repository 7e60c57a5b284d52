// Package pki makes the hub's certificates and keeps them in files.
//
// It decides the algorithms (ECDSA P-256), the lifetimes' edges and the file
// modes (0600 in directories of 0700), and when a certificate on disk must be
// replaced. What names and groups a certificate carries is its caller's
// decision; agents' certificates are issued elsewhere, under another authority.
package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

// AuthorityLifetime is how long a new authority's own certificate is valid.
const AuthorityLifetime = 10 * 365 * 24 * time.Hour

// backdate tolerates members whose clock is a little behind the hub's.
const backdate = 5 * time.Minute

// Authority is a certificate authority: its certificate and the key that signs.
type Authority struct {
	Certificate *x509.Certificate
	CertPEM     []byte
	key         crypto.Signer
}

// OpenAuthority reads NAME.crt and NAME.key from dir, and makes them when
// neither exists. One without the other is an error: making a new authority
// there would silently lock out everyone who trusts the old one.
func OpenAuthority(dir, name, commonName string) (*Authority, error) {
	certFile, keyFile := filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key")
	certPEM, certErr := os.ReadFile(certFile)
	keyPEM, keyErr := os.ReadFile(keyFile)
	switch {
	case errors.Is(certErr, fs.ErrNotExist) && errors.Is(keyErr, fs.ErrNotExist):
		return createAuthority(certFile, keyFile, commonName)
	case certErr != nil || keyErr != nil:
		return nil, fmt.Errorf("read certificate authority %s: %w", name, errors.Join(certErr, keyErr))
	}
	cert, err := parseCertificate(certPEM)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", certFile, err)
	}
	key, err := parseKey(keyPEM)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", keyFile, err)
	}
	if !key.PublicKey.Equal(cert.PublicKey) {
		return nil, fmt.Errorf("%s does not belong to %s", keyFile, certFile)
	}
	return &Authority{Certificate: cert, CertPEM: certPEM, key: key}, nil
}

func createAuthority(certFile, keyFile, commonName string) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the key of authority %s: %w", commonName, err)
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: commonName},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(AuthorityLifetime),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("sign authority %s: %w", commonName, err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("parse authority %s: %w", commonName, err)
	}
	authority := &Authority{Certificate: cert, CertPEM: encodeCertificate(der), key: key}
	return authority, writePair(certFile, authority.CertPEM, keyFile, key)
}

func newSerial() (*big.Int, error) {
	// 127 random bits: positive, and unique without keeping a counter.
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("draw a serial number: %w", err)
	}
	return serial, nil
}

func parseCertificate(data []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("no PEM certificate in it")
	}
	return x509.ParseCertificate(block.Bytes)
}

func parseKey(data []byte) (*ecdsa.PrivateKey, error) {
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "EC PRIVATE KEY" {
		return nil, errors.New("no PEM EC private key in it")
	}
	return x509.ParseECPrivateKey(block.Bytes)
}

func encodeCertificate(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode a private key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), nil
}
