package oci

import (
	"context"
	"errors"
	"net/http"

	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"atoll.dev/atoll/internal/source"
	"atoll.dev/atoll/internal/source/web"
)

// Pages of tags that are asked for, and how many tags one should have.
const (
	maxPages = 100
	pageSize = 1000
)

func (r *Registries) repository(o *origin) *remote.Repository {
	return &remote.Repository{
		Client:           r.client(o),
		Reference:        registry.Reference{Registry: o.at.Host, Repository: o.at.Path},
		MaxMetadataBytes: r.limits.Metadata,
		TagListPageSize:  pageSize,
		TagListMaxPages:  maxPages,
	}
}

// maxClients are remembered, each with the tokens that a registry gave it.
const maxClients = 200

// client is the one of all who hold the same credentials for a registry, so
// that a token is asked for once.
func (r *Registries) client(o *origin) *auth.Client {
	key := o.at.Host + "\n" + o.holder
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.clients[key]; c != nil {
		return c
	}
	if len(r.clients) >= maxClients {
		clear(r.clients)
	}
	c := &auth.Client{Client: web.NewClient(r.dial, o.credentials, web.Elsewhere), Cache: auth.NewCache()}
	if o.credentials.Held() {
		user, password, refresh, access := o.credentials.Registry()
		c.Credential = auth.StaticCredential(o.at.Host, auth.Credential{Username: user, Password: password, RefreshToken: refresh, AccessToken: access})
	}
	c.SetUserAgent("atoll-hub")
	r.clients[key] = c
	return c
}

// failure is what an error means for who owns the source. What is missing is
// said by the caller.
func (o *origin) failure(err error, missing error) error {
	var answer *errcode.ErrorResponse
	switch {
	case errors.Is(err, errdef.ErrNotFound):
		return missing
	case errors.Is(err, auth.ErrBasicCredentialNotFound):
		return web.Judge(o, http.StatusUnauthorized, false)
	case errors.Is(err, errdef.ErrSizeExceedsLimit):
		return source.Fail(source.TooLarge, "%s: %w", o, err)
	case errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound:
		return missing
	case errors.As(err, &answer):
		return web.Judge(o, answer.StatusCode, o.credentials.Held())
	}
	return web.Unreached(o, err)
}

// within bounds the time of a few requests.
func (r *Registries) within(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, r.limits.List)
}
