package signin

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/oauth2"
)

// usualScopes are asked for where nothing is said and the provider has them:
// who one is, in which groups, and a session that can be renewed.
var usualScopes = []string{"openid", "profile", "email", "groups", "offline_access"}

// provider is what an OpenID Connect provider says of itself
// (OpenID Connect Discovery 1.0, RFC 8414, RFC 8628).
type provider struct {
	Issuer    string   `json:"issuer"`
	AuthURL   string   `json:"authorization_endpoint"`
	TokenURL  string   `json:"token_endpoint"`
	DeviceURL string   `json:"device_authorization_endpoint"`
	RevokeURL string   `json:"revocation_endpoint"`
	Scopes    []string `json:"scopes_supported"`
}

// client calls a provider, whose authority the machine may not know.
func client(issuerCA string) (*http.Client, error) {
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if issuerCA != "" && !roots.AppendCertsFromPEM([]byte(issuerCA)) {
		return nil, errors.New("the authority of the provider's certificate is not PEM")
	}
	transport := &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		Proxy:             http.ProxyFromEnvironment,
		ForceAttemptHTTP2: true,
		// A command makes few calls and ends.
		DisableKeepAlives: true,
	}
	return &http.Client{Transport: transport, Timeout: callTimeout}, nil
}

// discoverProvider reads what the issuer says of itself.
func discoverProvider(ctx context.Context, c *http.Client, issuer string) (*provider, error) {
	address := strings.TrimSuffix(issuer, "/") + "/.well-known/openid-configuration"
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, fmt.Errorf("ask the provider %s: %w", issuer, err)
	}
	answer, err := c.Do(request)
	if err != nil {
		return nil, fmt.Errorf("the provider does not answer: %w", err)
	}
	defer answer.Body.Close() //nolint:errcheck // It was only read.
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", address, answer.Status)
	}
	p := &provider{}
	if err := json.NewDecoder(io.LimitReader(answer.Body, answerLimit)).Decode(p); err != nil {
		return nil, fmt.Errorf("%s does not say what an OpenID Connect provider says: %w", address, err)
	}
	return p, p.check(issuer)
}

// check refuses a provider that speaks for another, or over open lines.
func (p *provider) check(issuer string) error {
	if p.Issuer != issuer {
		return fmt.Errorf("the provider at %s calls itself %q; the hub must be told that name", issuer, p.Issuer)
	}
	for what, address := range map[string]string{"authorization": p.AuthURL, "token": p.TokenURL, "device": p.DeviceURL, "revocation": p.RevokeURL} {
		if address != "" && !strings.HasPrefix(address, "https://") {
			return fmt.Errorf("the %s endpoint %q of %s is not HTTPS", what, address, issuer)
		}
	}
	if p.TokenURL == "" {
		return fmt.Errorf("the provider %s names no token endpoint", issuer)
	}
	return nil
}

// config is how this client speaks to the provider.
func (p *provider) config(clientID string, scopes []string) *oauth2.Config {
	if len(scopes) == 0 {
		for _, s := range usualScopes {
			if s == "openid" || slices.Contains(p.Scopes, s) {
				scopes = append(scopes, s)
			}
		}
	}
	return &oauth2.Config{
		ClientID: clientID,
		Scopes:   scopes,
		// A client without a secret names itself among the parameters.
		Endpoint: oauth2.Endpoint{AuthURL: p.AuthURL, TokenURL: p.TokenURL, DeviceAuthURL: p.DeviceURL, AuthStyle: oauth2.AuthStyleInParams},
	}
}

// refusal is a provider's own word in place of the library's.
func refusal(err error) error {
	told := (*oauth2.RetrieveError)(nil)
	if !errors.As(err, &told) || told.ErrorCode == "" {
		return err
	}
	if told.ErrorDescription != "" {
		return fmt.Errorf("the provider refuses: %s (%s)", told.ErrorDescription, told.ErrorCode)
	}
	return fmt.Errorf("the provider refuses: %s", told.ErrorCode)
}
