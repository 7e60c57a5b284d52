package git

import (
	"fmt"

	"golang.org/x/crypto/ssh"

	"atoll.dev/atoll/internal/source"
	"atoll.dev/atoll/internal/source/web"
)

// Credentials are the contents of a Secret, under the names that Flux gives
// them, and Kubernetes' own for ssh keys.
type Credentials struct {
	web        *web.Credentials // of HTTPS
	signer     ssh.Signer
	knownHosts []byte
}

// ReadCredentials takes what a way to a repository needs out of a Secret; name
// is the Secret's. No value is ever part of an error.
func ReadCredentials(r source.Remote, name string, data map[string][]byte) (*Credentials, error) {
	c := &Credentials{}
	if r.Scheme == "ssh" {
		return c, c.readKey(name, data)
	}
	var err error
	c.web, err = web.ReadCredentials(r.String(), name, data)
	return c, err
}

// maxKey is of a private key, in bytes: of RSA with 16384 bits. What is larger
// takes hours to sign with.
const maxKey = 16 << 10

func (c *Credentials) readKey(name string, data map[string][]byte) error {
	key := first(data, "identity", "ssh-privatekey")
	c.knownHosts = data["known_hosts"]
	if key == nil {
		return source.Fail(source.CredentialMissing, "Secret %s has no identity: the private key for ssh", name)
	}
	if len(c.knownHosts) == 0 {
		return source.Fail(source.HostKeyUnknown, "Secret %s has no known_hosts: without it anybody could pose as the host; add the line that ssh-keyscan prints, once you have compared it", name)
	}
	if len(key) > maxKey {
		return source.Fail(source.CredentialMissing, "identity in Secret %s has more than %d KiB, which no private key in use has", name, maxKey>>10)
	}
	var err error
	if passphrase := data["password"]; len(passphrase) > 0 {
		c.signer, err = ssh.ParsePrivateKeyWithPassphrase(key, passphrase)
	} else {
		c.signer, err = ssh.ParsePrivateKey(key)
	}
	if err != nil {
		return source.Fail(source.CredentialMissing, "identity in Secret %s is no private key that can be read%s", name, missing(err))
	}
	return nil
}

func missing(err error) string {
	if _, ok := err.(*ssh.PassphraseMissingError); ok {
		return ": it needs a passphrase, in password"
	}
	return ""
}

func first(data map[string][]byte, names ...string) []byte {
	for _, n := range names {
		if len(data[n]) > 0 {
			return data[n]
		}
	}
	return nil
}

// overWeb is nil for a repository that everybody may read.
func (c *Credentials) overWeb() *web.Credentials {
	if c == nil {
		return nil
	}
	return c.web
}

// String keeps what it holds out of every log.
func (c *Credentials) String() string {
	return fmt.Sprintf("credentials (hidden), known: %t", c != nil)
}

// GoString does so for %#v.
func (c *Credentials) GoString() string { return c.String() }
