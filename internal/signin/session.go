package signin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"
)

// Session is what a sign-in left: a token for the hub, and what renews it.
type Session struct {
	Server       string    `json:"server"`
	Issuer       string    `json:"issuer"`
	IssuerCA     string    `json:"issuerCertificateAuthority,omitempty"`
	ClientID     string    `json:"clientID"`
	Scopes       []string  `json:"scopes,omitempty"`
	TokenURL     string    `json:"tokenURL"`
	RevokeURL    string    `json:"revokeURL,omitempty"`
	IDToken      string    `json:"idToken"`
	RefreshToken string    `json:"refreshToken,omitempty"`
	Received     time.Time `json:"received"`
	// GoodUntil is by this machine's clock, whatever the provider's says.
	GoodUntil time.Time `json:"goodUntil"`
}

// renewAhead is how long before its end a token is renewed, or half its life
// when that is less.
const renewAhead = time.Minute

// fresh says that the token need not be renewed yet. A clock that was set back
// since makes it stale: nothing tells how much of its life has passed.
func (s *Session) fresh(now time.Time) bool {
	ahead := min(renewAhead, s.GoodUntil.Sub(s.Received)/2)
	return !now.Before(s.Received) && now.Before(s.GoodUntil.Add(-ahead))
}

// good says that the token has not ended.
func (s *Session) good(now time.Time) bool {
	return !now.Before(s.Received) && now.Before(s.GoodUntil)
}

// take keeps what the provider answered, after looking at it.
func (s *Session) take(token *oauth2.Token, nonce string, now time.Time) error {
	id, _ := token.Extra("id_token").(string)
	if id == "" {
		return fmt.Errorf("the provider %s gave no ID token; has the client %s the scope openid?", s.Issuer, s.ClientID)
	}
	c, err := parseClaims(id)
	if err != nil {
		return err
	}
	if err := c.check(s.Issuer, s.ClientID, nonce); err != nil {
		return err
	}
	s.IDToken, s.Received, s.GoodUntil = id, now, c.goodUntil(now)
	if token.RefreshToken != "" {
		s.RefreshToken = token.RefreshToken
	}
	return nil
}

// renew trades the refresh token in. ended says that it counts no more.
func (s *Session) renew(ctx context.Context, now func() time.Time) (ended bool, err error) {
	if s.RefreshToken == "" {
		return true, errors.New("the provider gave nothing to renew it with")
	}
	c, err := client(s.IssuerCA)
	if err != nil {
		return false, err
	}
	config := &oauth2.Config{ClientID: s.ClientID, Endpoint: oauth2.Endpoint{TokenURL: s.TokenURL, AuthStyle: oauth2.AuthStyleInParams}}
	ctx = context.WithValue(ctx, oauth2.HTTPClient, c)
	token, err := config.TokenSource(ctx, &oauth2.Token{RefreshToken: s.RefreshToken}).Token()
	if err != nil {
		told := (*oauth2.RetrieveError)(nil)
		return errors.As(err, &told) && told.ErrorCode == "invalid_grant", refusal(err)
	}
	return false, s.take(token, "", now())
}

// Revoke tells the provider that the session is over (RFC 7009).
func (s *Session) Revoke(ctx context.Context) error {
	if s.RevokeURL == "" || s.RefreshToken == "" {
		return nil
	}
	c, err := client(s.IssuerCA)
	if err != nil {
		return err
	}
	form := url.Values{"token": {s.RefreshToken}, "token_type_hint": {"refresh_token"}, "client_id": {s.ClientID}}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.RevokeURL, strings.NewReader(form.Encode()))
	if err != nil {
		return fmt.Errorf("revoke the session at %s: %w", s.Issuer, err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer, err := c.Do(request)
	if err != nil {
		return fmt.Errorf("revoke the session at %s: %w", s.Issuer, err)
	}
	defer answer.Body.Close() //nolint:errcheck // Nothing of it is read.
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("revoke the session at %s: it answers %s", s.Issuer, answer.Status)
	}
	return nil
}
