package trust

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// ErrNoIdentity: the KeyStore is empty.
var ErrNoIdentity = errors.New("no identity is stored")

// KeyStore keeps an agent's Identity: a Secret of the member. Save replaces
// the whole or nothing.
type KeyStore interface {
	// Load returns ErrNoIdentity when nothing was saved.
	Load(ctx context.Context) (Identity, error)
	Save(ctx context.Context, id Identity) error
}

// Identity is what makes an agent the agent of its cluster. The private keys
// are made in the member and never leave it.
type Identity struct {
	Cluster    string
	ClusterUID string
	Key        *ecdsa.PrivateKey
	// KeyMade is when Key was made.
	KeyMade time.Time
	// Certificate is PEM, "" until the hub has accepted the cluster.
	Certificate string
	// SealingKey is the private key for sealed values, in the form of its
	// maker; SealingPublic is what the hub is told.
	SealingKey    []byte
	SealingPublic string
	// Roots are pinned.
	Roots Roots
}

// The keys of Identity.Data.
const (
	dataCluster       = "cluster"
	dataClusterUID    = "cluster-uid"
	dataKey           = "tls.key"
	dataKeyMade       = "tls.key.made"
	dataCertificate   = "tls.crt"
	dataSealingKey    = "sealing.key"
	dataSealingPublic = "sealing.pub"
	dataRoots         = "roots.json"
)

// Data is the identity as a Secret's data.
func (id Identity) Data() (map[string][]byte, error) {
	key, err := encodeKey(id.Key)
	if err != nil {
		return nil, err
	}
	roots, err := json.Marshal(id.Roots)
	if err != nil {
		return nil, fmt.Errorf("encode roots: %w", err)
	}
	return map[string][]byte{
		dataCluster:       []byte(id.Cluster),
		dataClusterUID:    []byte(id.ClusterUID),
		dataKey:           []byte(key),
		dataKeyMade:       []byte(id.KeyMade.UTC().Format(time.RFC3339)),
		dataCertificate:   []byte(id.Certificate),
		dataSealingKey:    id.SealingKey,
		dataSealingPublic: []byte(id.SealingPublic),
		dataRoots:         roots,
	}, nil
}

// ParseIdentity reads what Data wrote. Data without a key is ErrNoIdentity.
func ParseIdentity(data map[string][]byte) (Identity, error) {
	if len(data[dataKey]) == 0 {
		return Identity{}, ErrNoIdentity
	}
	id := Identity{
		Cluster:       string(data[dataCluster]),
		ClusterUID:    string(data[dataClusterUID]),
		Certificate:   string(data[dataCertificate]),
		SealingKey:    data[dataSealingKey],
		SealingPublic: string(data[dataSealingPublic]),
	}
	var err error
	if id.Key, err = parseKey(string(data[dataKey])); err != nil {
		return Identity{}, fmt.Errorf("read identity: %s: %w", dataKey, err)
	}
	if id.KeyMade, err = time.Parse(time.RFC3339, string(data[dataKeyMade])); err != nil {
		return Identity{}, fmt.Errorf("read identity: %s: %w", dataKeyMade, err)
	}
	if err := json.Unmarshal(data[dataRoots], &id.Roots); err != nil {
		return Identity{}, fmt.Errorf("read identity: %s: %w", dataRoots, err)
	}
	if id.Certificate != "" {
		if _, err := id.certificate(); err != nil {
			return Identity{}, fmt.Errorf("read identity: %s: %w", dataCertificate, err)
		}
	}
	return id, nil
}

// certificate is the key pair for TLS.
func (id Identity) certificate() (*tls.Certificate, error) {
	leaf, err := parseCertificate(id.Certificate)
	if err != nil {
		return nil, err
	}
	if !id.Key.PublicKey.Equal(leaf.PublicKey) {
		return nil, errors.New("the certificate is for another key")
	}
	return &tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: id.Key, Leaf: leaf}, nil
}

// withCertificate takes an answer of the hub. Roots that do not follow from
// the pinned ones are an error, and then nothing of the answer is taken.
func (id Identity) withCertificate(certificate string, roots Roots, now time.Time) (Identity, error) {
	followed, err := id.Roots.Follow(roots, now)
	if err != nil {
		return Identity{}, err
	}
	id.Roots, id.Certificate = followed, certificate
	cert, err := id.certificate()
	if err != nil {
		return Identity{}, fmt.Errorf("the hub's certificate: %w", err)
	}
	if name, err := clusterOf(cert.Leaf); err != nil || name != id.Cluster {
		return Identity{}, fmt.Errorf("the hub's certificate is for %q, this is cluster %s", cert.Leaf.Subject.CommonName, id.Cluster)
	}
	pool, err := followed.Pool()
	if err != nil {
		return Identity{}, err
	}
	// Not "now": the hub's clock is not this one's, and TLS checks at its end.
	opts := x509.VerifyOptions{Roots: pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, CurrentTime: cert.Leaf.NotAfter}
	if _, err := cert.Leaf.Verify(opts); err != nil {
		return Identity{}, fmt.Errorf("the hub's certificate: %w", err)
	}
	return id, nil
}

func (id Identity) csr(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return nil, fmt.Errorf("make CSR for cluster %s: %w", id.Cluster, err)
	}
	return der, nil
}
