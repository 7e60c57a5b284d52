// Package signin is a person's way to a hub's credential: it finds out whom the
// hub trusts, has the person sign in there by OpenID Connect, in a browser or
// with a code on another device, keeps what came of it in files that only they
// can read, renews it, and names it in a kubeconfig.
//
// Whether a token counts, and for whom, it leaves to the hub's API server; what
// is asked and printed to its caller.
package signin

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
)

// Path is where a hub tells everybody how to sign in.
const Path = "/.well-known/atoll"

// Document is what a hub says there. Nothing of it is secret.
type Document struct {
	// Issuer is the OpenID Connect provider's URL, ClientID the name under which
	// the provider knows the command line: a client without a secret.
	Issuer   string `json:"issuer"`
	ClientID string `json:"clientID"`
	// Scopes are asked for; empty means those of the usual ones that the provider has.
	Scopes []string `json:"scopes,omitempty"`
	// IssuerCA is the PEM of the authority of the provider's certificate, where it
	// is none that everybody knows.
	IssuerCA string `json:"issuerCertificateAuthority,omitempty"`
	// Server is the URL of the Kubernetes API; empty where this was read.
	Server string `json:"server,omitempty"`
	// ServerCA is the PEM of the authority of Server's certificate, CA of the one
	// of who serves this.
	ServerCA string `json:"serverCertificateAuthority,omitempty"`
	CA       string `json:"certificateAuthority,omitempty"`
}

// Check says what is missing of a document, or wrong with it.
func (d *Document) Check() error {
	if d.ClientID == "" {
		return errors.New("there is no client ID to sign in with")
	}
	for what, address := range map[string]string{"issuer": d.Issuer, "server": d.Server} {
		if what == "server" && address == "" {
			continue
		}
		if u, err := url.Parse(address); err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
			return fmt.Errorf("the %s %q is not of the form https://HOST", what, address)
		}
	}
	if len(d.Scopes) > 0 && !slices.Contains(d.Scopes, "openid") {
		return errors.New("the scopes lack openid, without which a provider gives no ID token")
	}
	return nil
}

// Serve answers with the document of the moment; nil while nobody can sign in.
func Serve(current func() *Document) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		d := current()
		switch {
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "only GET", http.StatusMethodNotAllowed)
		case d == nil:
			http.Error(w, noSignIn, http.StatusNotFound)
		default:
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(d) // whoever is gone needs no answer
		}
	})
}

const noSignIn = "this hub trusts no provider to sign in with (atoll hub --authentication-config)"
