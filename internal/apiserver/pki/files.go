package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// EnsureLeaf keeps a certificate and its key in two files: what is there stays
// while it is still good for spare, else both are issued anew.
// It reports whether it wrote them.
func (a *Authority) EnsureLeaf(certFile, keyFile string, leaf Leaf, spare time.Duration) (wrote bool, err error) {
	if certPEM, err := os.ReadFile(certFile); err == nil && a.StillGood(certPEM, leaf, spare, time.Now()) {
		if keyMatches(certPEM, keyFile) {
			return false, nil
		}
	}
	certPEM, keyPEM, err := a.Issue(leaf)
	if err != nil {
		return false, err
	}
	// The key first: a reader of the pair waits for the certificate to change.
	if err := WriteFile(keyFile, keyPEM); err != nil {
		return false, err
	}
	return true, WriteFile(certFile, certPEM)
}

func keyMatches(certPEM []byte, keyFile string) bool {
	keyPEM, err := os.ReadFile(keyFile)
	if err != nil {
		return false
	}
	key, err := parseKey(keyPEM)
	if err != nil {
		return false
	}
	cert, err := parseCertificate(certPEM)
	return err == nil && key.PublicKey.Equal(cert.PublicKey)
}

// EnsureKey makes an ECDSA P-256 private key in file unless there is one.
func EnsureKey(file string) error {
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make the key %s: %w", file, err)
	}
	keyPEM, err := encodeKey(key)
	if err != nil {
		return err
	}
	return WriteFile(file, keyPEM)
}

// WriteFile replaces a file with mode 0600 whole or not at all, so that a
// crash leaves either the old key or the new one.
func WriteFile(file string, data []byte) error {
	temp, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+"-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	defer os.Remove(temp.Name()) //nolint:errcheck // Gone already when all went well.
	_, err = temp.Write(data)
	err = errors.Join(err, temp.Sync(), temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), file)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	return nil
}

func writePair(certFile string, certPEM []byte, keyFile string, key *ecdsa.PrivateKey) error {
	keyPEM, err := encodeKey(key)
	if err != nil {
		return err
	}
	if err := WriteFile(keyFile, keyPEM); err != nil {
		return err
	}
	return WriteFile(certFile, certPEM)
}
