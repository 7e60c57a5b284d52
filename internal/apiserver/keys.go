package apiserver

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"atoll.dev/atoll/internal/apiserver/pki"
)

// keysDir holds what must outlive the data directory and be the same on every
// hub of one store: the authority, the key that signs service accounts and the
// one that encrypts Secrets.
type keysDir string

func (d keysDir) path(name string) string     { return filepath.Join(string(d), name) }
func (d keysDir) authorityFile() string       { return d.path("ca.crt") }
func (d keysDir) secretsKeyFile() string      { return d.path("secrets.key") }
func (d keysDir) serviceAccountsFile() string { return d.path("service-accounts.key") }

// MakeKeys makes what is missing of a control plane's keys in dir, and leaves
// alone what is there.
func MakeKeys(dir string) error {
	_, err := keysDir(dir).ensure()
	return err
}

// ensure makes what is missing and returns the authority.
func (d keysDir) ensure() (*pki.Authority, error) {
	if err := os.MkdirAll(string(d), 0o700); err != nil {
		return nil, fmt.Errorf("make the keys' directory: %w", err)
	}
	authority, err := pki.OpenAuthority(string(d), "ca", "atoll-hub-ca")
	if err == nil {
		err = errors.Join(pki.EnsureKey(d.serviceAccountsFile()), d.ensureSecretsKey())
	}
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		err = fmt.Errorf("%w; make the keys where their directory can be written, with `atoll hub keys DIR`, and mount that", err)
	}
	if err != nil {
		return nil, fmt.Errorf("open the hub's keys in %s: %w", d, err)
	}
	return authority, nil
}

// ensureSecretsKey keeps the configuration, with its key, that encrypts
// Secrets at rest. It is Kubernetes' own format, so keys rotate as its
// documentation says: add one in front, restart, rewrite the Secrets.
// It is outside the store: a copy of the store alone gives no Secret away.
func (d keysDir) ensureSecretsKey() error {
	if _, err := os.Stat(d.secretsKeyFile()); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	key := make([]byte, 32)
	rand.Read(key) // never fails
	return pki.WriteFile(d.secretsKeyFile(), fmt.Appendf(nil, secretsConfiguration, base64.StdEncoding.EncodeToString(key)))
}

// identity comes last, so that Secrets written before encryption stay readable.
const secretsConfiguration = `apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
- resources: [secrets]
  providers:
  - secretbox:
      keys:
      - name: key1
        secret: %s
  - identity: {}
`
