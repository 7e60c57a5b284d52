// Package seal keeps secret values readable by nobody but the cluster they are
// for: Seal encrypts one to an agent's public key with HPKE (RFC 9180), and
// RefKey names values so that names tell nothing. It decides algorithms and
// what a sealed value is bound to; keeping keys is its callers' work.
package seal

import (
	"crypto/ecdh"
	"crypto/hpke"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
)

// The suite, fixed for v0: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256,
// AES-256-GCM. A change needs a new domain below, so that old and new can
// never be taken for one another.
var (
	kem  = hpke.DHKEM(ecdh.X25519())
	kdf  = hpke.HKDFSHA256()
	aead = hpke.AES256GCM()
)

const domain = "atoll.dev/seal/v0"

// Info is what a sealed value is bound to: opened under any other, it is
// refused. So a value cannot be replayed to another cluster or in the place of
// another value.
type Info struct {
	// Cluster is the name of the cluster it is for.
	Cluster string
	// Ref is the value's reference.
	Ref string
}

// bytes is unambiguous: each part has its length before it.
func (i Info) bytes() []byte {
	out := []byte(domain)
	for _, part := range []string{i.Cluster, i.Ref} {
		out = binary.BigEndian.AppendUint32(out, uint32(len(part)))
		out = append(out, part...)
	}
	return out
}

// Key is an agent's private key. It prints as its public half.
type Key struct {
	private hpke.PrivateKey
}

// NewKey makes a key.
func NewKey() (Key, error) {
	private, err := kem.GenerateKey()
	if err != nil {
		return Key{}, fmt.Errorf("make a sealing key: %w", err)
	}
	return Key{private: private}, nil
}

// ParseKey reads what Key.Bytes wrote.
func ParseKey(data []byte) (Key, error) {
	private, err := kem.NewPrivateKey(data)
	if err != nil {
		return Key{}, errors.New("read the sealing key: it is not an X25519 private key")
	}
	return Key{private: private}, nil
}

// Bytes is the private key itself, 32 bytes, for the one place that stores it.
func (k Key) Bytes() ([]byte, error) { return k.private.Bytes() }

// Public is the key that others seal to, in base64.
func (k Key) Public() string {
	return base64.StdEncoding.EncodeToString(k.private.PublicKey().Bytes())
}

// String is the public key, so that printing a Key tells nothing.
func (k Key) String() string {
	if k.private == nil {
		return "no sealing key"
	}
	return "sealing key " + k.Public()
}

// GoString is String.
func (k Key) GoString() string { return k.String() }

// CheckPublic reports why a public key cannot be sealed to, if it cannot.
func CheckPublic(public string) error {
	_, err := parsePublic(public)
	return err
}

func parsePublic(public string) (hpke.PublicKey, error) {
	data, err := base64.StdEncoding.DecodeString(public)
	if err != nil {
		return nil, fmt.Errorf("read the sealing key: %w", err)
	}
	key, err := kem.NewPublicKey(data)
	if err != nil {
		return nil, fmt.Errorf("read the sealing key: it is not an X25519 public key: %w", err)
	}
	return key, nil
}

// Seal encrypts plain so that only the holder of public's private key can read
// it, and only as what info names. Sealing twice gives different bytes.
func Seal(public string, info Info, plain []byte) ([]byte, error) {
	key, err := parsePublic(public)
	if err != nil {
		return nil, fmt.Errorf("seal for cluster %s: %w", info.Cluster, err)
	}
	sealed, err := hpke.Seal(key, kdf, aead, info.bytes(), plain)
	if err != nil {
		return nil, fmt.Errorf("seal for cluster %s: %w", info.Cluster, err)
	}
	return sealed, nil
}

// Open decrypts what was sealed to this key under the same info.
func (k Key) Open(info Info, sealed []byte) ([]byte, error) {
	plain, err := hpke.Open(k.private, kdf, aead, info.bytes(), sealed)
	if err != nil {
		return nil, fmt.Errorf("open the value of %s: it is not sealed to this cluster's key, or not as this value", info.Ref)
	}
	return plain, nil
}
