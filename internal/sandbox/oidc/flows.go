package oidc

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"time"
)

func (p *Provider) discovery(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]any{
		"issuer": p.URL, "jwks_uri": p.URL + "/keys",
		"authorization_endpoint": p.URL + "/authorize", "token_endpoint": p.URL + "/token",
		"device_authorization_endpoint": p.URL + "/device", "revocation_endpoint": p.URL + "/revoke",
		"scopes_supported":                      []string{"openid", "email", "groups", "offline_access"},
		"response_types_supported":              []string{"code"},
		"subject_types_supported":               []string{"public"},
		"id_token_signing_alg_values_supported": []string{"ES256"},
	})
}

func (p *Provider) keys(w http.ResponseWriter, _ *http.Request) {
	point, err := p.key.PublicKey.Bytes() // 4, X, Y
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	text := base64.RawURLEncoding.EncodeToString
	answer(w, http.StatusOK, map[string]any{"keys": []any{map[string]any{
		"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "1", "x": text(point[1:33]), "y": text(point[33:]),
	}}})
}

// authorize has the person agree at once.
func (p *Provider) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	redirect, err := url.Parse(q.Get("redirect_uri"))
	if err != nil || redirect.Scheme != "http" || redirect.Hostname() != "127.0.0.1" || q.Get("client_id") != ClientID ||
		q.Get("response_type") != "code" || q.Get("code_challenge_method") != "S256" || q.Get("code_challenge") == "" {
		http.Error(w, "not a sign-in of a program with PKCE", http.StatusBadRequest)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	code := rand.Text()
	p.codes[code] = grant{q.Get("redirect_uri"), q.Get("code_challenge"), q.Get("nonce"), maps.Clone(p.person)}
	redirect.RawQuery = url.Values{"code": {code}, "state": {q.Get("state")}}.Encode()
	http.Redirect(w, r, redirect.String(), http.StatusFound)
}

func (p *Provider) token(w http.ResponseWriter, r *http.Request) {
	if r.PostFormValue("client_id") != ClientID {
		refuse(w, "invalid_client")
		return
	}
	claims, problem := map[string]any(nil), "unsupported_grant_type"
	switch r.PostFormValue("grant_type") {
	case "authorization_code":
		claims, problem = p.byCode(r)
	case "refresh_token":
		claims, problem = p.byRefresh(r.PostFormValue("refresh_token"))
	case "urn:ietf:params:oauth:grant-type:device_code":
		claims, problem = p.byDevice(r.PostFormValue("device_code"))
	}
	if problem != "" {
		refuse(w, problem)
		return
	}
	id := p.Token(claims)
	delete(claims, "nonce")
	p.mu.Lock()
	defer p.mu.Unlock()
	refresh := rand.Text()
	p.refresh[refresh] = claims
	answer(w, http.StatusOK, map[string]any{
		"access_token": rand.Text(), "token_type": "Bearer", "expires_in": int(tokenLife.Seconds()), "id_token": id, "refresh_token": refresh,
	})
}

func (p *Provider) byCode(r *http.Request) (map[string]any, string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	g, ok := p.codes[r.PostFormValue("code")]
	delete(p.codes, r.PostFormValue("code"))
	sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	if !ok || g.redirect != r.PostFormValue("redirect_uri") || g.challenge != base64.RawURLEncoding.EncodeToString(sum[:]) {
		return nil, "invalid_grant"
	}
	if g.nonce != "" {
		g.claims["nonce"] = g.nonce
	}
	return g.claims, ""
}

// byRefresh takes each token once.
func (p *Provider) byRefresh(token string) (map[string]any, string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	claims, ok := p.refresh[token]
	delete(p.refresh, token)
	if !ok {
		return nil, "invalid_grant"
	}
	return claims, ""
}

func (p *Provider) byDevice(code string) (map[string]any, string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	d := p.devices[code]
	switch {
	case d == nil:
		return nil, "expired_token"
	case !d.approved:
		return nil, "authorization_pending"
	}
	delete(p.devices, code)
	return d.claims, ""
}

func (p *Provider) device(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	code, d := rand.Text(), &device{user: rand.Text()[:8], claims: maps.Clone(p.person)}
	p.devices[code] = d
	answer(w, http.StatusOK, map[string]any{
		"device_code": code, "user_code": d.user, "verification_uri": p.URL + "/activate", "expires_in": 600, "interval": 1,
	})
}

// Approve is the person who types a code; it reports whether there is such a one.
func (p *Provider) Approve(userCode string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, d := range p.devices {
		if d.user == userCode {
			d.approved = true
			return true
		}
	}
	return false
}

func (p *Provider) revoke(_ http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.refresh, r.PostFormValue("token"))
}

// Sessions is how many refresh tokens count.
func (p *Provider) Sessions() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.refresh)
}

func refuse(w http.ResponseWriter, problem string) {
	answer(w, http.StatusBadRequest, map[string]any{"error": problem})
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // whoever is gone needs no answer
}

func sha256Sum(text string) []byte {
	sum := sha256.Sum256([]byte(text))
	return sum[:]
}

// serving is a certificate for loopback, of an authority that nobody knows.
func serving() (*tls.Config, string, error) {
	ca, caDER, caKey, err := authority()
	if err != nil {
		return nil, "", fmt.Errorf("make the provider's authority: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, "", fmt.Errorf("make the provider's certificate: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "provider"},
		NotBefore: ca.NotBefore, NotAfter: ca.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca, key.Public(), caKey)
	if err != nil {
		return nil, "", fmt.Errorf("make the provider's certificate: %w", err)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	return config, certificatePEM(caDER), nil
}

// SignIn is the browser: it opens a sign-in's URL and goes where it is sent.
func (p *Provider) SignIn(address string) error {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(p.CA))
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}, Timeout: time.Minute}
	defer client.CloseIdleConnections()
	page, err := client.Get(address)
	if err != nil {
		return fmt.Errorf("open the page to sign in: %w", err)
	}
	defer page.Body.Close() //nolint:errcheck // Nothing of it is read.
	if page.StatusCode != http.StatusOK {
		return fmt.Errorf("open the page to sign in: %s", page.Status)
	}
	return nil
}
