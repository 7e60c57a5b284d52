package git

import (
	"crypto/x509"
	"fmt"
	"net/http"

	"golang.org/x/crypto/ssh"

	"atoll.dev/atoll/internal/source"
)

// Credentials are the contents of a Secret, under the names that Flux gives
// them, and Kubernetes' own for ssh keys.
type Credentials struct {
	username, password string
	bearer             string
	signer             ssh.Signer
	knownHosts         []byte
	roots              *x509.CertPool
}

// ReadCredentials takes what a way to a repository needs out of a Secret; name
// is the Secret's. No value is ever part of an error.
func ReadCredentials(r source.Remote, name string, data map[string][]byte) (*Credentials, error) {
	c := &Credentials{}
	if ca := first(data, "ca.crt", "caFile"); ca != nil {
		c.roots = x509.NewCertPool()
		if !c.roots.AppendCertsFromPEM(ca) {
			return nil, source.Fail(source.CredentialMissing, "ca.crt in Secret %s holds no certificate in PEM", name)
		}
	}
	if r.Scheme == "ssh" {
		return c, c.readKey(name, data)
	}
	c.username, c.password, c.bearer = string(data["username"]), string(data["password"]), string(data["bearerToken"])
	switch {
	case c.bearer != "" && c.password != "":
		return nil, source.Fail(source.CredentialMissing, "Secret %s has both bearerToken and password; keep one of them", name)
	case c.username != "" && c.password == "":
		return nil, source.Fail(source.CredentialMissing, "Secret %s has username and no password", name)
	case c.bearer == "" && c.password == "" && c.roots == nil:
		return nil, source.Fail(source.CredentialMissing, "Secret %s has nothing for %s: give username and password, bearerToken, or ca.crt", name, r)
	}
	return c, nil
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

func (c *Credentials) authorize(r *http.Request) {
	switch {
	case c == nil:
	case c.bearer != "":
		r.Header.Set("Authorization", "Bearer "+c.bearer)
	case c.password != "":
		r.SetBasicAuth(c.username, c.password)
	}
}

// String keeps what it holds out of every log.
func (c *Credentials) String() string {
	return fmt.Sprintf("credentials (hidden), known: %t", c != nil)
}

// GoString does so for %#v.
func (c *Credentials) GoString() string { return c.String() }
