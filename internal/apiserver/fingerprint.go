package apiserver

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	apiserverconfigv1 "k8s.io/apiserver/pkg/apis/apiserver/v1"
	"k8s.io/client-go/util/keyutil"
	"sigs.k8s.io/yaml"

	"atoll.dev/atoll/internal/apiserver/pki"
)

// Fingerprints tell, by name, which keys a hub has, without giving one away. A
// key that rotates has several: two hubs fit together when they share one.
type Fingerprints map[string][]string

// Fingerprint names a key, or the certificate of one. Only for what cannot be
// guessed: it is a plain hash.
func Fingerprint(key []byte) string {
	sum := sha256.Sum256(append([]byte("atoll.dev/fingerprint/v0\x00"), key...))
	return hex.EncodeToString(sum[:16])
}

func (d keysDir) fingerprints(authority *pki.Authority) (Fingerprints, error) {
	prints := Fingerprints{"authority": {Fingerprint(authority.Certificate.Raw)}}
	signers, err := keyutil.PublicKeysFromFile(d.serviceAccountsFile())
	if err != nil {
		return nil, fmt.Errorf("read the keys of service accounts: %w", err)
	}
	for _, key := range signers {
		der, err := x509.MarshalPKIXPublicKey(key)
		if err != nil {
			return nil, fmt.Errorf("encode the key of service accounts in %s: %w", d.serviceAccountsFile(), err)
		}
		prints["service accounts"] = append(prints["service accounts"], Fingerprint(der))
	}
	prints["encryption of Secrets"], err = d.secretKeys()
	return prints, err
}

// secretKeys are the fingerprints of the keys in the encryption file.
func (d keysDir) secretKeys() ([]string, error) {
	keys, err := d.encryptionKeys()
	if err != nil {
		return nil, err
	}
	var prints []string
	for _, key := range keys {
		prints = append(prints, Fingerprint([]byte(key.Secret)))
	}
	return prints, nil
}

// SecretsKeys are the keys in dir that encrypt Secrets, the one in use first,
// for a store on which no API server of ours does it.
func SecretsKeys(dir string) ([][]byte, error) {
	keys, err := keysDir(dir).encryptionKeys()
	if err != nil {
		return nil, err
	}
	var secrets [][]byte
	for _, key := range keys {
		secret, err := base64.StdEncoding.DecodeString(key.Secret)
		if err != nil {
			return nil, fmt.Errorf("read the keys of Secrets in %s: key %s is not base64: %w", keysDir(dir).secretsKeyFile(), key.Name, err)
		}
		secrets = append(secrets, secret)
	}
	return secrets, nil
}

// encryptionKeys are those in the encryption file; a provider that keeps its
// keys elsewhere has none.
func (d keysDir) encryptionKeys() ([]apiserverconfigv1.Key, error) {
	data, err := os.ReadFile(d.secretsKeyFile())
	if err != nil {
		return nil, fmt.Errorf("read the keys of Secrets: %w", err)
	}
	var config apiserverconfigv1.EncryptionConfiguration
	if err := yaml.Unmarshal(data, &config); err != nil {
		return nil, fmt.Errorf("read the keys of Secrets in %s: it is no EncryptionConfiguration: %w", d.secretsKeyFile(), err)
	}
	var keys []apiserverconfigv1.Key
	for _, resource := range config.Resources {
		for _, p := range resource.Providers {
			keys = append(keys, keysOfProvider(p)...)
		}
	}
	return keys, nil
}

func keysOfProvider(p apiserverconfigv1.ProviderConfiguration) []apiserverconfigv1.Key {
	switch {
	case p.Secretbox != nil:
		return p.Secretbox.Keys
	case p.AESGCM != nil:
		return p.AESGCM.Keys
	case p.AESCBC != nil:
		return p.AESCBC.Keys
	}
	return nil
}

// differ names the keys of which both have some and share none.
func (f Fingerprints) differ(other Fingerprints) []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(f)) {
		mine, theirs := f[name], other[name]
		shared := func(print string) bool { return slices.Contains(theirs, print) }
		if len(mine) > 0 && len(theirs) > 0 && !slices.ContainsFunc(mine, shared) {
			names = append(names, name)
		}
	}
	return names
}

// foreignStore says that a store belongs to hubs with other keys.
func foreignStore(names []string) error {
	return fmt.Errorf("this store was begun by a hub with other keys (%s): start this hub with those keys, by --keys or in its data directory, or give it a store of its own (in an external etcd another --etcd-prefix, else another cluster)",
		strings.Join(names, ", "))
}
