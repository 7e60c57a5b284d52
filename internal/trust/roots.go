package trust

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"
)

// ErrUntrustedRoots: announced roots do not follow from the pinned ones.
var ErrUntrustedRoots = errors.New("the announced roots do not follow from the pinned ones")

// Roots is what an agent pins of its hub: the root that signs now and the one
// that will sign next, each PEM.
//
// A next root is announced by a cross certificate: the next root's name and
// key, signed by the root current at the time. That makes an announcement an
// ordinary X.509 intermediate: an agent that slept through any number of
// rotations still verifies the gateway in TLS, for the gateway sends the same
// certificates along.
type Roots struct {
	// Sequence counts the announcements.
	Sequence uint64 `json:"sequence"`
	Current  string `json:"current"`
	Next     string `json:"next"`
	// Announcements are the cross certificates, oldest first; the last is of
	// Next, signed by Current.
	Announcements []Announcement `json:"announcements"`
}

// Announcement of one root by its predecessor.
type Announcement struct {
	// Sequence is the number of the rotation that made Root the next one.
	Sequence uint64 `json:"sequence"`
	// Root is the announced root, self-signed, PEM.
	Root string `json:"root"`
	// Cross is Root's name and key, signed by the root before it, PEM.
	Cross string `json:"cross"`
}

// Pool verifies certificates of the hub: those of the pinned roots.
func (r Roots) Pool() (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	for name, text := range map[string]string{"current": r.Current, "next": r.Next} {
		root, err := parseCertificate(text)
		if err != nil {
			return nil, fmt.Errorf("read %s root: %w", name, err)
		}
		pool.AddCert(root)
	}
	return pool, nil
}

// Follow returns the roots to pin after the hub announced others. Both of the
// new roots must be reached from a pinned one by announcements signed each by
// the one before. An older bundle changes nothing; a wrong one is an
// ErrUntrustedRoots, and the pinned roots stay.
func (r Roots) Follow(announced Roots, now time.Time) (Roots, error) {
	if announced.Sequence < r.Sequence {
		return r, nil
	}
	trusted, err := r.pinned()
	if err != nil {
		return r, err
	}
	for _, a := range announced.Announcements {
		root, err := a.verify(trusted, now)
		if err != nil {
			return r, fmt.Errorf("%w: announcement %d: %w", ErrUntrustedRoots, a.Sequence, err)
		}
		if root != nil {
			trusted = append(trusted, root)
		}
	}
	for _, text := range []string{announced.Current, announced.Next} {
		root, err := parseCertificate(text)
		if err != nil {
			return r, fmt.Errorf("%w: %w", ErrUntrustedRoots, err)
		}
		if !contains(trusted, root) {
			return r, fmt.Errorf("%w: nothing vouches for root %q", ErrUntrustedRoots, root.Subject.CommonName)
		}
	}
	return announced, nil
}

func (r Roots) pinned() ([]*x509.Certificate, error) {
	current, err := parseCertificate(r.Current)
	if err != nil {
		return nil, fmt.Errorf("read pinned current root: %w", err)
	}
	next, err := parseCertificate(r.Next)
	if err != nil {
		return nil, fmt.Errorf("read pinned next root: %w", err)
	}
	return []*x509.Certificate{current, next}, nil
}

// verify returns the announced root when a trusted one vouches for it, nil
// when the announcement is older than what is pinned, and an error when it
// claims a trusted signer and lies.
func (a Announcement) verify(trusted []*x509.Certificate, now time.Time) (*x509.Certificate, error) {
	root, err := parseCertificate(a.Root)
	if err != nil {
		return nil, err
	}
	cross, err := parseCertificate(a.Cross)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(cross.RawSubjectPublicKeyInfo, root.RawSubjectPublicKeyInfo) || !bytes.Equal(cross.RawSubject, root.RawSubject) {
		return nil, errors.New("the signed key is not the announced root's")
	}
	if !root.IsCA || now.After(root.NotAfter) {
		return nil, fmt.Errorf("%q cannot be a root now", root.Subject.CommonName)
	}
	if err := root.CheckSignatureFrom(root); err != nil {
		return nil, fmt.Errorf("%q did not sign itself: %w", root.Subject.CommonName, err)
	}
	for _, signer := range trusted {
		if !bytes.Equal(signer.RawSubject, cross.RawIssuer) {
			continue
		}
		if err := cross.CheckSignatureFrom(signer); err != nil {
			return nil, fmt.Errorf("signature by %q: %w", signer.Subject.CommonName, err)
		}
		return root, nil
	}
	return nil, nil
}

func contains(certs []*x509.Certificate, c *x509.Certificate) bool {
	for _, known := range certs {
		if known.Equal(c) {
			return true
		}
	}
	return false
}

func parseCertificate(text string) (*x509.Certificate, error) {
	block, rest := pem.Decode([]byte(text))
	if block == nil || block.Type != "CERTIFICATE" || len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("not one PEM certificate")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read certificate: %w", err)
	}
	return cert, nil
}

func encodeCertificate(der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}
