package helm

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"

	"atoll.dev/atoll/internal/source"
	"atoll.dev/atoll/internal/source/archive"
	"atoll.dev/atoll/internal/source/web"
)

// chartOf names a chart in an error.
type chartOf struct {
	*origin
	version string
}

func (c chartOf) String() string { return fmt.Sprintf("chart %s %s of %s", c.name, c.version, c.at) }

// download brings an archive, if it is what the index's digest names.
func (o *origin) download(ctx context.Context, e entry) (*os.File, error) {
	of := chartOf{o, e.version}
	at, ours, err := o.location(e)
	if err != nil {
		return nil, source.Fail(source.NoRepository, "%s: %w", of, err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return nil, source.Fail(source.NoRepository, "%s: %w", of, err)
	}
	if ours {
		o.credentials.Authorize(r)
	}
	client := o.client()
	defer client.CloseIdleConnections()
	answer, err := client.Do(r)
	if err != nil {
		return nil, web.Unreached(of, err)
	}
	defer answer.Body.Close()
	if err := web.Judge(of, answer.StatusCode, ours && o.credentials.Held()); err != nil {
		return nil, err
	}
	packed, err := archive.Receive(o.of.dir, answer.Body, e.digest, o.of.limits.Archive)
	var broken *archive.Broken
	if errors.As(err, &broken) {
		return nil, web.Unreached(of, err)
	}
	return packed, err
}
