package web

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"atoll.dev/atoll/internal/source"
)

// Credentials are the contents of a Secret, under the names that Flux and
// Kubernetes give them.
type Credentials struct {
	login
	roots *x509.CertPool
	// hosts are those of a file of docker's, by registry.
	hosts map[string]login
}

type login struct {
	username, password, bearer string
	// refresh has a registry hand out tokens.
	refresh string
}

// dockerConfig is Kubernetes' name for a file of docker's.
const dockerConfig = ".dockerconfigjson"

// ReadCredentials takes what HTTPS needs out of a Secret, to read of with; name
// is the Secret's. No value is ever part of an error.
func ReadCredentials(of, name string, data map[string][]byte) (*Credentials, error) {
	c := &Credentials{}
	if err := c.readRoots(name, data); err != nil {
		return nil, err
	}
	c.username, c.password, c.bearer = string(data["username"]), string(data["password"]), string(data["bearerToken"])
	switch {
	case c.bearer != "" && c.password != "":
		return nil, source.Fail(source.CredentialMissing, "Secret %s has both bearerToken and password; keep one of them", name)
	case c.username != "" && c.password == "":
		return nil, source.Fail(source.CredentialMissing, "Secret %s has username and no password", name)
	case c.bearer == "" && c.password == "" && c.roots == nil:
		return nil, source.Fail(source.CredentialMissing, "Secret %s has nothing for %s: give username and password, bearerToken, or ca.crt", name, of)
	}
	return c, nil
}

// ReadRegistryCredentials does so for a registry: a file of docker's counts for
// the hosts in it.
func ReadRegistryCredentials(host, name string, data map[string][]byte) (*Credentials, error) {
	file := data[dockerConfig]
	if len(file) == 0 {
		return ReadCredentials(host, name, data)
	}
	c := &Credentials{}
	if err := c.readRoots(name, data); err != nil {
		return nil, err
	}
	if err := c.readDocker(file); err != nil {
		return nil, source.Fail(source.CredentialMissing, "%s in Secret %s is no file of docker's: %w", dockerConfig, name, err)
	}
	l, ok := c.hosts[host]
	if !ok && c.roots == nil {
		return nil, source.Fail(source.CredentialMissing, "%s in Secret %s has nothing for %s", dockerConfig, name, host)
	}
	c.login = l
	return c, nil
}

func (c *Credentials) readRoots(name string, data map[string][]byte) error {
	ca := data["ca.crt"]
	if len(ca) == 0 {
		ca = data["caFile"]
	}
	if len(ca) == 0 {
		return nil
	}
	c.roots = x509.NewCertPool()
	if !c.roots.AppendCertsFromPEM(ca) {
		return source.Fail(source.CredentialMissing, "ca.crt in Secret %s holds no certificate in PEM", name)
	}
	return nil
}

func (c *Credentials) readDocker(file []byte) error {
	var kept struct {
		Auths map[string]struct {
			Username, Password, Auth     string
			IdentityToken, RegistryToken string
		}
	}
	// Without the cause, which may quote what is in it.
	if json.Unmarshal(file, &kept) != nil {
		return fmt.Errorf("it is no JSON with auths")
	}
	c.hosts = map[string]login{}
	for key, a := range kept.Auths {
		l := login{username: a.Username, password: a.Password, refresh: a.IdentityToken, bearer: a.RegistryToken}
		if a.Auth != "" {
			text, err := base64.StdEncoding.DecodeString(a.Auth)
			user, password, ok := strings.Cut(string(text), ":")
			if err != nil || !ok {
				return fmt.Errorf("auth of %q is not the base64 of USER:PASSWORD", source.Line(key))
			}
			l.username, l.password = user, password
		}
		c.hosts[dockerHost(key)] = l
	}
	return nil
}

// dockerHost is the registry that a key of docker's means: a host, or a URL.
func dockerHost(key string) string {
	host := key
	if _, rest, ok := strings.Cut(host, "://"); ok {
		host = rest
	}
	host, _, _ = strings.Cut(host, "/")
	switch host = strings.ToLower(host); host {
	case "index.docker.io", "registry-1.docker.io":
		return "docker.io"
	}
	return strings.TrimSuffix(host, ":443")
}

// Authorize shows the credentials, if there are any.
func (c *Credentials) Authorize(r *http.Request) {
	switch {
	case c == nil:
	case c.bearer != "":
		r.Header.Set("Authorization", "Bearer "+c.bearer)
	case c.password != "":
		r.SetBasicAuth(c.username, c.password)
	}
}

// Registry are the credentials as a registry takes them.
func (c *Credentials) Registry() (username, password, refresh, access string) {
	if c == nil {
		return "", "", "", ""
	}
	return c.username, c.password, c.refresh, c.bearer
}

// Held says that there is something to show.
func (c *Credentials) Held() bool { return c != nil && c.login != (login{}) }

// String keeps what it holds out of every log.
func (c *Credentials) String() string {
	return fmt.Sprintf("credentials (hidden), known: %t", c != nil)
}

// GoString does so for %#v.
func (c *Credentials) GoString() string { return c.String() }
