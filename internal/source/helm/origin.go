package helm

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/source"
	"atoll.dev/atoll/internal/source/archive"
	"atoll.dev/atoll/internal/source/web"
)

// origin is a chart as one application follows it.
type origin struct {
	of          *Repositories
	at          source.Address
	name        string
	wanted      string
	credentials *web.Credentials
	holder      string

	// found is what the last Find chose.
	found entry
}

func (o *origin) String() string { return o.at.String() }

// Find is source.Origin's.
func (o *origin) Find(ctx context.Context, since time.Time) (source.Found, error) {
	x, err := o.of.indexes.Ask(ctx, o.at.String()+"\n"+o.holder, since, o.list)
	if err != nil {
		return source.Found{}, err
	}
	all := x.charts[o.name]
	if len(all) == 0 {
		return source.Found{}, source.Fail(source.RefNotFound, "%s has no chart %q; it has %s", o, o.name, source.Few(slices.Collect(maps.Keys(x.charts))))
	}
	var versions []string
	for _, e := range all {
		versions = append(versions, e.version)
	}
	version, err := source.Highest(o.wanted, versions)
	if err != nil {
		return source.Found{}, source.Fail(source.RefNotFound, "chart %s of %s: %w", o.name, o, err)
	}
	o.found = all[slices.Index(versions, version)]
	if o.found.digest == "" {
		return source.Found{}, source.Fail(source.SourceRefused, "%s gives no digest of chart %s %s, so that nobody could tell whether it is the right one; write the index anew with: helm repo index", o, o.name, version)
	}
	return source.Found{ID: o.found.digest, Ref: version}, nil
}

// list asks for the index, unless it is as it was.
func (o *origin) list(ctx context.Context, before index) (index, int64, error) {
	ctx, cancel := context.WithTimeout(ctx, o.of.limits.List)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, o.at.Below("index.yaml").String(), nil)
	if err != nil {
		return index{}, 0, source.Fail(source.NoRepository, "ask %s: %w", o, err)
	}
	if before.tag != "" {
		r.Header.Set("If-None-Match", before.tag)
	}
	o.credentials.Authorize(r)
	client := o.client()
	defer client.CloseIdleConnections()
	answer, err := client.Do(r)
	if err != nil {
		return index{}, 0, web.Unreached(o, err)
	}
	defer answer.Body.Close()
	if answer.StatusCode == http.StatusNotModified && before.tag != "" {
		return before, before.weight, nil
	}
	if err := web.Judge(o, answer.StatusCode, o.credentials.Held()); err != nil {
		return index{}, 0, err
	}
	data, err := web.Body(indexOf{o}, answer.Body, o.of.limits.Index)
	if err != nil {
		return index{}, 0, err
	}
	if err := o.of.parsing.Lock(ctx); err != nil {
		return index{}, 0, web.Unreached(o, err)
	}
	defer o.of.parsing.Unlock()
	x, err := parseIndex(data, o.of.limits.Versions)
	if err != nil {
		return index{}, 0, source.Fail(source.NoRepository, "%s is no Helm repository: %w", o, err)
	}
	x.tag = answer.Header.Get("ETag")
	return x, x.weight, nil
}

func (o *origin) client() *http.Client {
	return web.NewClient(o.of.dial, o.credentials, web.Elsewhere)
}

// indexOf names the index in an error.
type indexOf struct{ *origin }

func (i indexOf) String() string { return "index.yaml of " + i.at.String() }

// Verify is source.Origin's.
func (o *origin) Verify(context.Context, source.Found, source.Secret) (*v1alpha1.Verified, error) {
	return nil, source.Refuse(source.SourceRefused, "a Helm repository keeps no signatures of cosign; follow the chart in a registry, oci://…")
}

// Fetch is source.Origin's.
func (o *origin) Fetch(ctx context.Context, f source.Found) (source.Snapshot, func(), error) {
	e := o.found
	return o.of.charts.Get(ctx, o.at.String()+"\n"+o.holder+"\n"+o.name+"\n"+f.Ref+"\n"+f.ID, func(ctx context.Context, dir string) (source.Snapshot, int64, error) {
		ctx, cancel := context.WithTimeout(ctx, o.of.limits.Fetch)
		defer cancel()
		packed, err := o.download(ctx, e)
		if err != nil {
			return source.Snapshot{}, 0, err
		}
		defer archive.Discard(packed)
		return Unpack(ctx, packed, dir, o.of.limits.Folder, Wanted{Name: o.name, Version: f.Ref, Revision: source.Revision{ID: f.ID, Ref: f.Ref, Time: e.created}})
	})
}

// location is where an archive is: an index may name any host, which is shown no
// credentials unless it is the repository's.
func (o *origin) location(e entry) (*url.URL, bool, error) {
	base, err := url.Parse(o.at.String() + "/")
	if err != nil {
		return nil, false, err
	}
	at, err := base.Parse(e.url)
	if err != nil || at.Host == "" || at.User != nil {
		return nil, false, errors.New("its URL in index.yaml is none that can be used")
	}
	return at, at.Scheme == base.Scheme && strings.EqualFold(at.Host, base.Host), nil
}

// Replaces is source.Origin's: versions follow each other in whatever way, but
// one version is one chart.
func (o *origin) Replaces(_ context.Context, before, now *v1alpha1.Commit) bool {
	return before.Ref == now.Ref
}
