package signin

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

const (
	// answerLimit bounds what is read of any answer.
	answerLimit = 1 << 20
	// callTimeout bounds one call, to the hub or to a provider.
	callTimeout = 30 * time.Second
)

// Trust is why the hub's certificate is believed when no authority that the
// machine knows has signed it.
type Trust struct {
	// CAFile is a PEM file of the hub's authority.
	CAFile string
	// Fingerprint is of that authority, as Fingerprint prints it.
	Fingerprint string
	// Confirm is shown the fingerprint on first sight, and refuses by an error.
	Confirm func(fingerprint string) error
}

// Hub is a hub that told how to sign in.
type Hub struct {
	Document
	// URL is the Kubernetes API's; CAData the PEM of its authority, or nil when
	// the machine knows it.
	URL    string
	CAData []byte
}

// Discover asks the hub at a URL how to sign in.
func Discover(ctx context.Context, address string, trust Trust) (*Hub, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" {
		return nil, fmt.Errorf("%q is not the URL of a hub, such as https://hub.example.com:7443", address)
	}
	base := "https://" + u.Host + strings.TrimSuffix(u.Path, "/")
	d, caData, err := fetch(ctx, base+Path, trust)
	if err != nil {
		return nil, err
	}
	if err := d.Check(); err != nil {
		return nil, fmt.Errorf("the hub at %s tells how to sign in, but %w", base, err)
	}
	hub := &Hub{Document: *d, URL: base, CAData: caData}
	if d.Server != "" {
		hub.URL, hub.CAData = strings.TrimSuffix(d.Server, "/"), []byte(d.ServerCA)
	}
	return hub, nil
}

func fetch(ctx context.Context, address string, trust Trust) (d *Document, caData []byte, err error) {
	switch {
	case trust.CAFile != "":
		if caData, err = os.ReadFile(trust.CAFile); err != nil {
			return nil, nil, fmt.Errorf("read the hub's authority: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(caData) {
			return nil, nil, fmt.Errorf("%s holds no PEM certificate", trust.CAFile)
		}
		d, _, err = ask(ctx, address, &tls.Config{RootCAs: pool})
		return d, caData, err
	case trust.Fingerprint == "":
		d, _, err := ask(ctx, address, &tls.Config{})
		if unknown := (x509.UnknownAuthorityError{}); !errors.As(err, &unknown) {
			return d, nil, err
		}
	}
	// The peer is judged below, by the authority that it names and a person accepts.
	d, state, err := ask(ctx, address, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec
	if err != nil {
		return nil, nil, err
	}
	return d, []byte(d.CA), firstSight(d, state, trust)
}

// firstSight believes a hub by the fingerprint of the authority that it names,
// when that has signed the certificate which the hub proved to be its own.
func firstSight(d *Document, state *tls.ConnectionState, trust Trust) error {
	authority, err := parseAuthority([]byte(d.CA))
	if err != nil {
		return fmt.Errorf("the hub's certificate is of no authority that this machine knows, and the one it names is unusable: %w; give it by --ca", err)
	}
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(authority)
	for _, c := range state.PeerCertificates[1:] {
		between.AddCert(c)
	}
	// The name counts too: another server of the same authority is not the hub.
	_, err = state.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, DNSName: state.ServerName})
	if err != nil {
		return fmt.Errorf("the hub's certificate is not of the authority that it names: %w", err)
	}
	found := Fingerprint(authority)
	switch {
	case trust.Fingerprint != "" && normal(trust.Fingerprint) != normal(found):
		return fmt.Errorf("the hub's authority has the fingerprint %s, which is not the one given: this may be another's server", found)
	case trust.Fingerprint != "":
		return nil
	case trust.Confirm == nil:
		return fmt.Errorf("the hub's authority is unknown here; its fingerprint is %s", found)
	}
	return trust.Confirm(found)
}

func parseAuthority(data []byte) (*x509.Certificate, error) {
	block, rest := pem.Decode(data)
	if block == nil || block.Type != "CERTIFICATE" || len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("it is not one PEM certificate")
	}
	authority, err := x509.ParseCertificate(block.Bytes)
	if err == nil && !authority.IsCA {
		err = errors.New("it is no authority's certificate")
	}
	return authority, err
}

// Fingerprint is what `openssl x509 -fingerprint -sha256` prints of an authority.
func Fingerprint(authority *x509.Certificate) string {
	sum := sha256.Sum256(authority.Raw)
	var pairs []string
	for _, b := range sum {
		pairs = append(pairs, strings.ToUpper(hex.EncodeToString([]byte{b})))
	}
	return strings.Join(pairs, ":")
}

// normal lets people write a fingerprint as their tools do.
func normal(fingerprint string) string {
	lower := strings.ToLower(strings.TrimSpace(fingerprint))
	lower = strings.TrimPrefix(strings.TrimPrefix(lower, "sha256:"), "sha256 fingerprint=")
	return strings.ReplaceAll(lower, ":", "")
}

func ask(ctx context.Context, address string, config *tls.Config) (*Document, *tls.ConnectionState, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("ask the hub how to sign in: %w", err)
	}
	// The name to verify stands in the state only when it was sent, which TLS does
	// not do for addresses.
	config.ServerName = request.URL.Hostname()
	config.MinVersion = tls.VersionTLS12
	transport := &http.Transport{TLSClientConfig: config, Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := client.Do(request)
	if err != nil {
		return nil, nil, fmt.Errorf("ask the hub how to sign in: %w", err)
	}
	defer answer.Body.Close() //nolint:errcheck // It was only read.
	data, err := io.ReadAll(io.LimitReader(answer.Body, answerLimit))
	if err != nil {
		return nil, nil, fmt.Errorf("ask the hub how to sign in: %w", err)
	}
	if answer.StatusCode != http.StatusOK {
		return nil, nil, fmt.Errorf("%s answers %s; where people sign in with a provider that is not told there, give --issuer and --client-id", address, answer.Status)
	}
	d := &Document{}
	if err := json.Unmarshal(data, d); err != nil {
		return nil, nil, fmt.Errorf("%s answers with something else than a hub's word on signing in: %w", address, err)
	}
	state := *answer.TLS
	state.ServerName = config.ServerName
	return d, &state, nil
}
