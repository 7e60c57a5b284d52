package signin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/oauth2"
)

// Login is one sign-in of a person.
type Login struct {
	Hub *Hub
	// Redirect is the loopback URL to which the provider sends the browser back;
	// port 0 takes a free one.
	Redirect string
	// Open shows a URL in a browser; nil leaves that to the person.
	Open func(url string) error
	// Say tells the person what to do.
	Say func(format string, args ...any)
	Now func() time.Time
}

// DefaultRedirect is what RFC 8252 asks of programs on a person's machine.
const DefaultRedirect = "http://127.0.0.1:0/callback"

// signInLimit is how long a person may take.
const signInLimit = 10 * time.Minute

var errTooLate = fmt.Errorf("nobody signed in within %s", signInLimit)

// InBrowser signs in by a browser of this machine (authorization code with PKCE).
func (l *Login) InBrowser(ctx context.Context) (*Session, error) {
	return l.run(ctx, func(ctx context.Context, config *oauth2.Config) (*oauth2.Token, string, error) {
		if config.Endpoint.AuthURL == "" {
			return nil, "", errors.New("the provider has no page to sign in at; try --device")
		}
		return l.byCode(ctx, config)
	})
}

// OnDevice signs in by a browser anywhere, with a code that the person types
// there (RFC 8628).
func (l *Login) OnDevice(ctx context.Context) (*Session, error) {
	return l.run(ctx, func(ctx context.Context, config *oauth2.Config) (*oauth2.Token, string, error) {
		if config.Endpoint.DeviceAuthURL == "" {
			return nil, "", errors.New("the provider does not offer the device flow; sign in without --device")
		}
		grant, err := config.DeviceAuth(ctx)
		if err != nil {
			return nil, "", refusal(err)
		}
		l.Say("Open %s and type the code %s", grant.VerificationURI, grant.UserCode)
		if grant.VerificationURIComplete != "" {
			l.Say("or open %s", grant.VerificationURIComplete)
		}
		token, err := config.DeviceAccessToken(ctx, grant)
		if errors.Is(err, context.DeadlineExceeded) {
			err = errors.New("the code was not typed in time")
		}
		return token, "", refusal(err)
	})
}

func (l *Login) run(ctx context.Context, flow func(context.Context, *oauth2.Config) (*oauth2.Token, string, error)) (*Session, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, signInLimit, errTooLate)
	defer cancel()
	h := l.Hub
	c, err := client(h.IssuerCA)
	if err != nil {
		return nil, err
	}
	p, err := discoverProvider(ctx, c, h.Issuer)
	if err != nil {
		return nil, err
	}
	config := p.config(h.ClientID, h.Scopes)
	token, nonce, err := flow(context.WithValue(ctx, oauth2.HTTPClient, c), config)
	if err != nil {
		return nil, fmt.Errorf("sign in at %s: %w", h.Issuer, err)
	}
	s := &Session{
		Server: h.URL, Issuer: h.Issuer, IssuerCA: h.IssuerCA, ClientID: h.ClientID, Scopes: config.Scopes,
		TokenURL: p.TokenURL, RevokeURL: p.RevokeURL,
	}
	return s, s.take(token, nonce, l.Now())
}
