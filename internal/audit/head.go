package audit

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Head is the hub's signed word about the ends of its log: without it a log could
// be cut, or made anew, by whoever can write its files. Its key is not among them.
type Head struct {
	// Log tells one log from another.
	Log string `json:"log"`
	// First is the first record that is kept, Previous the hash before it.
	First    uint64 `json:"first"`
	Previous string `json:"previous"`
	// Last is the last record, 0 before the first, and Hash its own.
	Last      uint64    `json:"last"`
	Hash      string    `json:"hash"`
	Time      time.Time `json:"time"`
	Signature []byte    `json:"signature,omitempty"`
}

const (
	headName    = "head.json"
	headPurpose = "atoll-audit-head/1\n"
	maxHead     = 64 << 10
)

func (h Head) signed() ([]byte, error) {
	h.Signature = nil
	data, err := json.Marshal(h)
	if err != nil {
		return nil, fmt.Errorf("encode the head of the audit log: %w", err)
	}
	return append([]byte(headPurpose), data...), nil
}

func (h Head) sign(key ed25519.PrivateKey) (Head, error) {
	message, err := h.signed()
	if err != nil {
		return h, err
	}
	h.Signature = ed25519.Sign(key, message)
	return h, nil
}

var (
	errNoHead = errors.New("the signed head is missing")
	errForged = errors.New("the head is not signed by the key of this log: it was forged, or the key is another hub's")
)

// readHead reads the head in dir and proves its signature.
func readHead(dir string, key ed25519.PublicKey) (Head, error) {
	var h Head
	path := filepath.Join(dir, headName)
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return h, errNoHead
	}
	if err != nil {
		return h, fmt.Errorf("read the head of the audit log: %w", err)
	}
	if info.Size() > maxHead {
		return Head{}, errForged
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return h, fmt.Errorf("read the head of the audit log: %w", err)
	}
	if json.Unmarshal(data, &h) != nil {
		return Head{}, errForged
	}
	message, err := h.signed()
	if err != nil {
		return Head{}, err
	}
	if len(key) != ed25519.PublicKeySize || !ed25519.Verify(key, message, h.Signature) {
		return Head{}, errForged
	}
	return h, nil
}

// prepareHead makes a head durable beside the one that counts.
func prepareHead(dir string, h Head) error {
	data, err := json.MarshalIndent(h, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the head of the audit log: %w", err)
	}
	file, err := os.OpenFile(filepath.Join(dir, headName+".new"), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(append(data, '\n'))
	return errors.Join(err, file.Sync(), file.Close())
}

// exchangeHead has the prepared head count.
func exchangeHead(dir string) error {
	return os.Rename(filepath.Join(dir, headName+".new"), filepath.Join(dir, headName))
}

// DeriveKey makes the key that signs heads of a secret, always the same one, as PEM.
func DeriveKey(secret []byte) ([]byte, error) {
	seed, err := hkdf.Key(sha256.New, secret, nil, "atoll-audit-key/1", ed25519.SeedSize)
	if err != nil {
		return nil, fmt.Errorf("make the key of the audit log: %w", err)
	}
	key := ed25519.NewKeyFromSeed(seed)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode the key of the audit log: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// ParseKey reads what DeriveKey made.
func ParseKey(data []byte) (ed25519.PrivateKey, error) {
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, errors.New("the key of the audit log is not PEM")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read the key of the audit log: %w", err)
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("the key of the audit log is a %T, not an Ed25519 key", parsed)
	}
	return key, nil
}

// PublicKey is what others verify with, as PEM.
func PublicKey(key ed25519.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, fmt.Errorf("encode the public key of the audit log: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}

// ParsePublicKey reads what PublicKey made.
func ParsePublicKey(data []byte) (ed25519.PublicKey, error) {
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "PUBLIC KEY" {
		return nil, errors.New("this is no public key in PEM; the audit log's is audit.pub among the hub's keys")
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read the public key of the audit log: %w", err)
	}
	key, ok := parsed.(ed25519.PublicKey)
	if !ok {
		return nil, fmt.Errorf("this is a %T; the audit log's key is an Ed25519 key: audit.pub among the hub's keys", parsed)
	}
	return key, nil
}
