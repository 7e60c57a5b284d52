package git

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"

	"atoll.dev/atoll/internal/source"
	"atoll.dev/atoll/internal/source/web"
)

// overHTTPS is Git's smart protocol over HTTPS: each request stands alone.
type overHTTPS struct {
	client *http.Client
	access Access
	base   string
}

func openHTTPS(a Access, dial web.Dialer) *overHTTPS {
	return &overHTTPS{access: a, base: a.Remote.String(), client: web.NewClient(dial, a.Credentials.overWeb(), web.SameHost)}
}

const (
	service = "git-upload-pack"
	asking  = "/info/refs"
)

func (w *overHTTPS) advertised(ctx context.Context) (io.Reader, error) {
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

func (w *overHTTPS) upload(ctx context.Context, request []byte) (io.Reader, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.base+"/"+service, bytes.NewReader(request))
	if err != nil {
		return nil, source.Fail(source.NoRepository, "fetch from %s: %w", w.access.Remote, err)
	}
	r.Header.Set("Content-Type", "application/x-"+service+"-request")
	body, _, err := w.do(r, "application/x-"+service+"-result")
	return body, err
}

// do returns a body that ends with the request's context.
func (w *overHTTPS) do(r *http.Request, want string) (io.Reader, *http.Response, error) {
	// Some hosts answer programs that do not begin like this with a web page.
	r.Header.Set("User-Agent", "git/2.0 (atoll)")
	r.Header.Set("Accept", want)
	w.access.Credentials.overWeb().Authorize(r)
	answer, err := w.client.Do(r)
	if err != nil {
		return nil, nil, web.Unreached(w.access.Remote, err)
	}
	if err := w.judge(answer, want); err != nil {
		_ = answer.Body.Close() // nothing of it is wanted
		return nil, nil, err
	}
	return answer.Body, answer, nil
}

func (w *overHTTPS) judge(answer *http.Response, want string) error {
	if err := web.Judge(w.access.Remote, answer.StatusCode, w.access.Credentials != nil); err != nil {
		return err
	}
	if kind, _, _ := strings.Cut(answer.Header.Get("Content-Type"), ";"); kind != want {
		return source.Fail(source.NoRepository, "%s is no Git repository: it answers with %q", w.access.Remote, source.Line(kind))
	}
	return nil
}

func (w *overHTTPS) Close() error {
	w.client.CloseIdleConnections()
	return nil
}
