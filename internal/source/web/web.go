// Package web is how the hub speaks HTTPS with hosts that the sources of
// projects name: with which credentials, to whom these are shown, and in which
// words it fails. Which addresses may be dialled is left to internal/egress,
// and what is asked for to the packages of the kinds of sources.
package web

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"atoll.dev/atoll/internal/source"
)

// Dialer is how a host is reached.
type Dialer interface {
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}

// Redirects say where a server may send a request on to.
type Redirects func(r *http.Request, via []*http.Request) error

// NewClient speaks with what c trusts; it shows c to nobody by itself.
func NewClient(dial Dialer, c *Credentials, redirects Redirects) *http.Client {
	tlsConfig := &tls.Config{MinVersion: tls.VersionTLS12}
	if c != nil {
		tlsConfig.RootCAs = c.roots
	}
	return &http.Client{
		Transport: secure{&http.Transport{
			// No proxy of the environment: it would dial what the hub may not.
			DialContext:           dial.DialContext,
			TLSClientConfig:       tlsConfig,
			TLSHandshakeTimeout:   10 * time.Second,
			ResponseHeaderTimeout: time.Minute,
			IdleConnTimeout:       30 * time.Second,
			// Errors repeat what is wrong with a header.
			MaxResponseHeaderBytes: 64 << 10,
			ForceAttemptHTTP2:      true,
			DisableCompression:     true, // a few bytes may unfold to any number
		}},
		CheckRedirect: redirects,
	}
}

// secure refuses what anybody on the way could read and change, whoever led
// there: a redirect, an index, or a registry's word of who hands out tokens.
type secure struct{ *http.Transport }

// RoundTrip is http.RoundTripper's.
func (s secure) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" {
		return nil, source.Fail(source.Unreachable, "it leads to %s, which is not https", bare(r.URL))
	}
	return s.Transport.RoundTrip(r)
}

// bare leaves out what a URL may hold in secret.
func bare(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

// SameHost lets a server say that something has another path there; the
// credentials are for no other host.
func SameHost(r *http.Request, via []*http.Request) error {
	if len(via) > 3 || r.URL.Scheme != via[0].URL.Scheme || r.URL.Host != via[0].URL.Host {
		return source.Fail(source.Unreachable, "it redirects to %s; give that URL if it is the right one", bare(r.URL))
	}
	return nil
}

// maxRedirects is of one request.
const maxRedirects = 5

// Elsewhere lets a server hand out what it keeps on other hosts, which are shown
// no credentials and not where the request came from.
func Elsewhere(r *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return source.Fail(source.Unreachable, "it redirects more than %d times, at last to %s", maxRedirects, bare(r.URL))
	}
	r.Header.Del("Referer") // its query may be a key
	for _, before := range via {
		if before.URL.Host != r.URL.Host || before.URL.Scheme != r.URL.Scheme {
			r.Header.Del("Authorization")
			r.Header.Del("Cookie")
		}
	}
	return nil
}

// Judge says what is wrong with an answer; held tells that credentials were
// shown.
func Judge(of fmt.Stringer, status int, held bool) error {
	told := fmt.Sprintf("%d %s", status, http.StatusText(status))
	switch {
	case status == http.StatusUnauthorized && !held:
		return source.Fail(source.CredentialMissing, "%s wants credentials, or there is no such repository; name a Secret with them in secretRef", of)
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return source.Fail(source.CredentialRefused, "%s refuses the credentials (%s); renew them in the Secret", of, told)
	case status == http.StatusNotFound || status == http.StatusGone:
		return source.Fail(source.RepositoryNotFound, "%s is not there, or not for these credentials (%s)", of, told)
	case status != http.StatusOK:
		return source.Fail(source.Unreachable, "%s answers %s", of, told)
	}
	return nil
}

// Body reads an answer to its end, and no more than limit bytes of it.
func Body(of fmt.Stringer, in io.Reader, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(in, limit+1))
	switch {
	case err != nil:
		return nil, Unreached(of, err)
	case int64(len(data)) > limit:
		return nil, source.Fail(source.TooLarge, "%s has more than %d MiB", of, limit>>20)
	}
	return data, nil
}
