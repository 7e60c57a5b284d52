package hub

import (
	"cmp"
	"context"
	"errors"
	"path/filepath"
	"strings"

	"atoll.dev/atoll/internal/blob/oci"
	"atoll.dev/atoll/internal/depot"
)

// contents opens where this hub keeps content. A registry that is away is only
// worth a word: what is in members stays enforced, and copies are delivered.
func (s *start) contents(ctx context.Context) (depot.Stores, error) {
	if !strings.HasPrefix(s.Content, oci.Scheme) {
		return depot.Folder(cmp.Or(s.Content, filepath.Join(s.DataDir, "content"))), nil
	}
	location, err := oci.Parse(s.Content)
	if err != nil {
		return nil, err
	}
	registry, err := oci.Open(oci.Options{
		Location: location,
		Owner:    s.keys.fingerprints()["references"][0],
		Cache:    filepath.Join(s.DataDir, "content-cache"),
		Log:      s.Log,
	})
	if err != nil {
		return nil, err
	}
	if err := registry.Claim(ctx); errors.Is(err, oci.ErrForeign) {
		return nil, err
	} else if err != nil {
		s.Log.Warn("the content registry does not answer as it must; uploads fail until it does", "err", err)
	}
	return registryContents{registry}, nil
}

// registryContents gives the registry's stores the type that a depot takes.
type registryContents struct{ *oci.Registry }

func (r registryContents) Project(name string) (depot.Store, error) { return r.Registry.Project(name) }
