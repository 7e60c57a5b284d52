package oci

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"atoll.dev/atoll/internal/blob"
	"atoll.dev/atoll/internal/desired"
)

// ErrKept says that the registry deletes nothing for this hub.
var ErrKept = errors.New("the registry refuses to delete it: allow this hub deletion, or let the registry drop old tags that begin with " + tagPrefix)

// Digests are all contents of the project, in the registry's order.
func (s *Store) Digests(ctx context.Context) ([]desired.Digest, error) {
	ctx, cancel := context.WithTimeout(ctx, transferTime)
	defer cancel()
	if err := s.registry.Claim(ctx); err != nil {
		return nil, err
	}
	var digests []desired.Digest
	err := s.repo.Tags(ctx, "", func(tags []string) error {
		for _, tag := range tags {
			if d := digestOf(tag); d != "" {
				digests = append(digests, d)
			}
		}
		return nil
	})
	if err != nil && !errors.Is(err, errdef.ErrNotFound) && !answered(err, http.StatusNotFound) {
		return nil, fmt.Errorf("list the content of project %s at %s: %w", s.project, s.registry.Location, advise(err))
	}
	return digests, nil
}

// Stored is when the content was last put, give or take the time for which Put
// leaves a fresh one alone; or blob.ErrMissing.
func (s *Store) Stored(ctx context.Context, d desired.Digest) (time.Time, error) {
	there, err := s.look(ctx, d)
	if err != nil {
		return time.Time{}, s.failed("look at", d, err)
	}
	return there.put(), nil
}

func (s *Store) look(ctx context.Context, d desired.Digest) (found, error) {
	tag, err := tagOf(d)
	if err != nil {
		return found{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, transferTime)
	defer cancel()
	if err := s.registry.Claim(ctx); err != nil {
		return found{}, err
	}
	return find(ctx, s.repo, tag)
}

// Delete removes the manifest, and leaves the layer to the registry's garbage
// collection. The error is ErrKept where the registry does not allow it.
func (s *Store) Delete(ctx context.Context, d desired.Digest) error {
	there, err := s.look(ctx, d)
	if err == nil {
		err = s.delete(ctx, d, there)
	}
	if err != nil && !errors.Is(err, blob.ErrMissing) {
		return s.failed("delete", d, err)
	}
	s.registry.cache.drop(s.project, d)
	return nil
}

// delete names the manifest by its own digest, so that one which was put under
// the tag meanwhile stays.
func (s *Store) delete(ctx context.Context, d desired.Digest, there found) error {
	ctx, cancel := context.WithTimeout(ctx, transferTime)
	defer cancel()
	refused := s.repo.Delete(ctx, there.descriptor)
	if errors.Is(refused, errdef.ErrNotFound) {
		refused = nil
	}
	if refused != nil && !isRefusal(refused) {
		return refused
	}
	left, err := s.look(ctx, d)
	if err != nil {
		return err
	}
	if left.descriptor.Digest != there.descriptor.Digest {
		return nil
	}
	// Some registries keep, or want to lose first, the tag.
	if err := s.untag(ctx, d); isRefusal(err) {
		return fmt.Errorf("%w (%w)", ErrKept, err)
	} else if err != nil {
		return err
	}
	if err := s.repo.Delete(ctx, there.descriptor); err != nil && !errors.Is(err, errdef.ErrNotFound) && !isRefusal(err) {
		return err
	}
	return nil
}

// isRefusal tells a registry that will not from one that cannot now.
func isRefusal(err error) bool {
	return answered(err, http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusMethodNotAllowed, http.StatusConflict)
}

// untag is the one request that the library does not have.
func (s *Store) untag(ctx context.Context, d desired.Digest) (err error) {
	tag, err := tagOf(d)
	if err != nil {
		return err
	}
	ref := s.repo.Reference
	scheme := "https"
	if s.repo.PlainHTTP {
		scheme = "http"
	}
	ctx = auth.AppendRepositoryScope(ctx, ref, auth.ActionDelete)
	url := fmt.Sprintf("%s://%s/v2/%s/manifests/%s", scheme, ref.Host(), ref.Repository, tag)
	req, err := http.NewRequestWithContext(ctx, http.MethodDelete, url, nil)
	if err != nil {
		return err
	}
	resp, err := s.repo.Client.Do(req)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	switch resp.StatusCode {
	case http.StatusAccepted, http.StatusOK, http.StatusNoContent, http.StatusNotFound:
		return nil
	}
	return &errcode.ErrorResponse{Method: req.Method, URL: req.URL, StatusCode: resp.StatusCode}
}
