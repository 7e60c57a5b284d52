// Package oidc is an OpenID Connect provider on loopback: discovery, keys, the
// authorization code flow with PKCE, the device flow, refresh tokens that count
// once, revocation. It decides the protocol; who signs in, and that they agree,
// is its caller's word, since nobody sits before a browser.
package oidc

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"sync"
	"time"
)

// ClientID is the client that the provider knows; it has no secret.
const ClientID = "atoll-cli"

// Provider answers at its URL until it is closed.
type Provider struct {
	URL string
	// CA is the PEM of the authority of its certificate.
	CA string

	server *httptest.Server
	key    *ecdsa.PrivateKey

	mu      sync.Mutex
	away    bool
	person  map[string]any // the claims of who sits before the browser
	codes   map[string]grant
	devices map[string]*device
	refresh map[string]map[string]any // claims by refresh token
}

// grant is what a code was given for.
type grant struct {
	redirect, challenge, nonce string
	claims                     map[string]any
}

type device struct {
	user     string
	approved bool
	claims   map[string]any
}

// New starts a provider at which a person with these claims signs in, such as
// email and groups.
func New(person map[string]any) (*Provider, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the provider's key: %w", err)
	}
	p := &Provider{
		key: key, person: person,
		codes: map[string]grant{}, devices: map[string]*device{}, refresh: map[string]map[string]any{},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", p.discovery)
	mux.HandleFunc("GET /keys", p.keys)
	mux.HandleFunc("GET /authorize", p.authorize)
	mux.HandleFunc("POST /token", p.token)
	mux.HandleFunc("POST /device", p.device)
	mux.HandleFunc("POST /revoke", p.revoke)
	p.server = httptest.NewUnstartedServer(p.unlessAway(mux))
	if p.server.TLS, p.CA, err = serving(); err != nil {
		return nil, err
	}
	p.server.StartTLS()
	p.URL = p.server.URL
	return p, nil
}

// Close ends it.
func (p *Provider) Close() { p.server.Close() }

// Away has it answer nothing but that it cannot, or answer again.
func (p *Provider) Away(away bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.away = away
}

// Person has another sign in from now on.
func (p *Provider) Person(claims map[string]any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.person = claims
}

func (p *Provider) unlessAway(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		away := p.away
		p.mu.Unlock()
		if away {
			http.Error(w, "away", http.StatusServiceUnavailable)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// Token signs claims over what every ID token says: a nil value leaves one out.
func (p *Provider) Token(claims map[string]any) string { return sign(p.key, p.claims(claims)) }

// tokenLife is what providers give an ID token.
const tokenLife = time.Hour

func (p *Provider) claims(claims map[string]any) map[string]any {
	now := time.Now()
	all := map[string]any{"iss": p.URL, "aud": ClientID, "iat": now.Unix(), "exp": now.Add(tokenLife).Unix()}
	maps.Copy(all, claims)
	maps.DeleteFunc(all, func(_ string, v any) bool { return v == nil })
	return all
}

// Forged is a token with the right claims and somebody else's signature.
func (p *Provider) Forged(claims map[string]any) (string, error) {
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", fmt.Errorf("make a stranger's key: %w", err)
	}
	return sign(stranger, p.claims(claims)), nil
}

// sign makes a JWT by ES256 (RFC 7518, 3.4).
func sign(key *ecdsa.PrivateKey, claims map[string]any) string {
	payload := encode(map[string]any{"alg": "ES256", "kid": "1", "typ": "JWT"}) + "." + encode(claims)
	sum := sha256Sum(payload)
	r, s, err := ecdsa.Sign(rand.Reader, key, sum)
	if err != nil {
		panic(err) // the key is of this package
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return payload + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func encode(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // claims of a test that are no JSON
	}
	return base64.RawURLEncoding.EncodeToString(data)
}

// authority makes a certificate for loopback and the PEM of who signed it.
func authority() (cert *x509.Certificate, der []byte, key *ecdsa.PrivateKey, err error) {
	if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "provider"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageCertSign, IsCA: true, BasicConstraintsValid: true,
	}
	if der, err = x509.CreateCertificate(rand.Reader, template, template, key.Public(), key); err != nil {
		return nil, nil, nil, err
	}
	cert, err = x509.ParseCertificate(der)
	return cert, der, key, err
}

func certificatePEM(der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}
