package git

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"atoll.dev/atoll/internal/source"
)

// web is Git's smart protocol over HTTPS: each request stands alone.
type web struct {
	client *http.Client
	access Access
	base   string
}

func openWeb(a Access, dial Dialer) *web {
	var roots *x509.CertPool
	if a.Credentials != nil {
		roots = a.Credentials.roots
	}
	return &web{
		access: a, base: a.Remote.String(),
		client: &http.Client{
			Transport: &http.Transport{
				// No proxy of the environment: it would dial what the hub may not.
				DialContext:           dial.DialContext,
				TLSClientConfig:       &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
				TLSHandshakeTimeout:   10 * time.Second,
				ResponseHeaderTimeout: time.Minute,
				// Errors repeat what is wrong with a header.
				MaxResponseHeaderBytes: 64 << 10,
				ForceAttemptHTTP2:      true,
				DisableCompression:     true, // a few bytes may unfold to any number
			},
			CheckRedirect: sameHost,
		},
	}
}

// sameHost lets a server say that a repository has another path there; the
// credentials are for no other host.
func sameHost(r *http.Request, via []*http.Request) error {
	if len(via) > 3 || r.URL.Scheme != via[0].URL.Scheme || r.URL.Host != via[0].URL.Host {
		return source.Fail(source.Unreachable, "it redirects to %s; give that URL if it is the right one", (&url.URL{Scheme: r.URL.Scheme, Host: r.URL.Host, Path: r.URL.Path}).String())
	}
	return nil
}

const (
	service = "git-upload-pack"
	asking  = "/info/refs"
)

func (w *web) advertised(ctx context.Context) (io.Reader, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, w.base+asking+"?service="+service, nil)
	if err != nil {
		return nil, source.Fail(source.NoRepository, "ask %s: %w", w.access.Remote, err)
	}
	body, answer, err := w.do(r, "application/x-"+service+"-advertisement")
	if err != nil {
		return nil, err
	}
	if final := answer.Request.URL; strings.HasSuffix(final.Path, asking) {
		w.base = (&url.URL{Scheme: final.Scheme, Host: final.Host, Path: strings.TrimSuffix(final.Path, asking)}).String()
	}
	return body, nil
}

func (w *web) upload(ctx context.Context, request []byte) (io.Reader, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.base+"/"+service, bytes.NewReader(request))
	if err != nil {
		return nil, source.Fail(source.NoRepository, "fetch from %s: %w", w.access.Remote, err)
	}
	r.Header.Set("Content-Type", "application/x-"+service+"-request")
	body, _, err := w.do(r, "application/x-"+service+"-result")
	return body, err
}

// do returns a body that ends with the request's context.
func (w *web) do(r *http.Request, want string) (io.Reader, *http.Response, error) {
	// Some hosts answer programs that do not begin like this with a web page.
	r.Header.Set("User-Agent", "git/2.0 (atoll)")
	r.Header.Set("Accept", want)
	w.access.Credentials.authorize(r)
	answer, err := w.client.Do(r)
	if err != nil {
		return nil, nil, w.unreached(err)
	}
	if err := w.judge(answer, want); err != nil {
		_ = answer.Body.Close() // nothing of it is wanted
		return nil, nil, err
	}
	return answer.Body, answer, nil
}

func (w *web) judge(answer *http.Response, want string) error {
	remote := w.access.Remote
	switch kind, _, _ := strings.Cut(answer.Header.Get("Content-Type"), ";"); {
	case answer.StatusCode == http.StatusUnauthorized && w.access.Credentials == nil:
		return source.Fail(source.CredentialMissing, "%s wants credentials, or there is no such repository; name a Secret with them in secretRef", remote)
	case answer.StatusCode == http.StatusUnauthorized || answer.StatusCode == http.StatusForbidden:
		return source.Fail(source.CredentialRefused, "%s refuses the credentials (%s); renew them in the Secret", remote, answer.Status)
	case answer.StatusCode == http.StatusNotFound || answer.StatusCode == http.StatusGone:
		return source.Fail(source.RepositoryNotFound, "%s is not there, or not for these credentials (%s)", remote, answer.Status)
	case answer.StatusCode != http.StatusOK:
		return source.Fail(source.Unreachable, "%s answers %s", remote, answer.Status)
	case kind != want:
		return source.Fail(source.NoRepository, "%s is no Git repository: it answers with %q", remote, source.Line(kind))
	}
	return nil
}

func (w *web) unreached(err error) error {
	var failure *source.Failure
	if errors.As(err, &failure) {
		return source.Fail(failure.Reason, "%s: %w", w.access.Remote, failure.Err)
	}
	var address *url.Error
	if errors.As(err, &address) {
		err = address.Err // without the URL, which is said already
	}
	var authority x509.UnknownAuthorityError
	if errors.As(err, &authority) {
		return source.Fail(source.Unreachable, "%s shows a certificate of an authority that is not known (%w); put the authority's into ca.crt of the Secret", w.access.Remote, err)
	}
	return unreached(w.access.Remote, err)
}

func (w *web) Close() error {
	w.client.CloseIdleConnections()
	return nil
}
