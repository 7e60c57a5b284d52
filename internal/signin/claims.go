package signin

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// claims are those of an ID token that its receiver looks at. The signature is
// the hub's to check: the token came from the provider itself, over TLS
// (OpenID Connect Core 1.0, 3.1.3.7).
type claims struct {
	Issuer   string   `json:"iss"`
	Audience audience `json:"aud"`
	Expires  float64  `json:"exp"`
	Issued   float64  `json:"iat"`
	Nonce    string   `json:"nonce"`
}

// audience is one text or a list of them.
type audience []string

func (a *audience) UnmarshalJSON(data []byte) error {
	one := ""
	if json.Unmarshal(data, &one) == nil {
		*a = audience{one}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(a))
}

func parseClaims(token string) (*claims, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, errors.New("the provider's ID token is no JWT")
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil, fmt.Errorf("read the provider's ID token: %w", err)
	}
	c := &claims{}
	if err := json.Unmarshal(payload, c); err != nil {
		return nil, fmt.Errorf("read the provider's ID token: %w", err)
	}
	return c, nil
}

// check refuses a token that the hub would refuse anyway, with words.
func (c *claims) check(issuer, clientID, nonce string) error {
	switch {
	case c.Issuer != issuer:
		return fmt.Errorf("the ID token is of %q and not of %s", c.Issuer, issuer)
	case !slices.Contains(c.Audience, clientID):
		return fmt.Errorf("the ID token is for %q and not for %s", []string(c.Audience), clientID)
	case c.Nonce != nonce && nonce != "":
		return errors.New("the ID token answers to another sign-in than this one")
	case c.Expires <= 0:
		return errors.New("the ID token does not say how long it is good")
	}
	return nil
}

// maxLifetime bounds what a token may say of itself.
const maxLifetime = 366 * 24 * time.Hour

// goodUntil is when the token ends by this machine's clock, which may be wrong:
// its lifetime counts from when it came, where it says when it was issued.
func (c *claims) goodUntil(received time.Time) time.Time {
	if c.Issued > 0 && c.Expires > c.Issued {
		return received.Add(lifetime(c.Expires - c.Issued))
	}
	return received.Add(lifetime(c.Expires - float64(received.Unix())))
}

func lifetime(seconds float64) time.Duration {
	return time.Duration(min(max(seconds, 0), maxLifetime.Seconds()) * float64(time.Second))
}
