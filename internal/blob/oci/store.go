package oci

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/singleflight"
	orascontent "oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote"

	"atoll.dev/atoll/internal/blob"
	"atoll.dev/atoll/internal/desired"
)

// fresh is how old a manifest may be without being written again by Put: a hub
// that starts puts everything once more. It is well below any sweep's grace.
const fresh = 6 * time.Hour

// Store is the content of one project. It is safe for concurrent use.
type Store struct {
	registry *Registry
	project  string
	repo     *remote.Repository
	reading  singleflight.Group

	mu sync.Mutex
	// damaged are contents whose layer was found to be something else. A
	// registry takes no second layer of one digest, so they need another.
	damaged map[desired.Digest]bool
}

// Put returns when the registry has the content.
func (s *Store) Put(ctx context.Context, d desired.Digest, data []byte) error {
	err := blob.Verify(d, data)
	if err == nil {
		err = s.put(ctx, d, data)
	}
	if err != nil {
		return s.failed("store", d, err)
	}
	s.registry.cache.put(s.project, d, data)
	return nil
}

func (s *Store) put(ctx context.Context, d desired.Digest, data []byte) error {
	tag, err := tagOf(d)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, transferTime)
	defer cancel()
	if err := s.registry.Claim(ctx); err != nil {
		return err
	}
	there, err := find(ctx, s.repo, tag)
	if err == nil && !s.isDamaged(d) {
		var done bool
		if done, err = s.refresh(ctx, d, there); done {
			return err
		}
	}
	if err != nil && !errors.Is(err, blob.ErrMissing) && !errors.Is(err, blob.ErrCorrupt) {
		return err
	}
	packed := s.registry.packer.Pack(data)
	if s.isDamaged(d) {
		packed = disguise(packed)
	}
	layer := orascontent.NewDescriptorFromBytes(layerType, packed)
	if err := ensureBlob(ctx, s.repo, layer, packed); err != nil {
		return err
	}
	if err := s.tag(ctx, d, layer); err != nil {
		return err
	}
	s.setDamaged(d, false)
	return nil
}

// refresh makes a content young again; it is not done where a part is missing.
func (s *Store) refresh(ctx context.Context, d desired.Digest, there found) (done bool, err error) {
	layer, err := there.layer()
	if err != nil {
		return false, err
	}
	kept, err := s.repo.Blobs().Resolve(ctx, layer.Digest.String())
	switch {
	case errors.Is(err, errdef.ErrNotFound):
		return false, nil
	case err != nil:
		return true, err
	case kept.Size != layer.Size:
		s.setDamaged(d, true)
		return false, nil
	}
	if time.Since(there.put()) < fresh {
		return true, nil
	}
	if err := s.tag(ctx, d, layer); err != nil {
		return true, err
	}
	// Without a tag the old one is of no use, and where it may not be deleted, of
	// little harm.
	_ = s.repo.Delete(ctx, there.descriptor)
	return true, nil
}

func (s *Store) tag(ctx context.Context, d desired.Digest, layer ocispec.Descriptor) error {
	tag, err := tagOf(d)
	if err != nil {
		return err
	}
	return write(ctx, s.repo, tag, ocispec.Manifest{
		ArtifactType: contentType,
		Layers:       []ocispec.Descriptor{layer},
		Annotations:  map[string]string{ocispec.AnnotationCreated: time.Now().UTC().Format(time.RFC3339)},
	})
}

// disguise adds a frame that decompression skips (RFC 8878, section 3.1.2), so
// that the same content has another digest.
func disguise(packed []byte) []byte {
	const skippable, size = 0x184D2A50, 16
	frame := binary.LittleEndian.AppendUint32(nil, skippable)
	frame = binary.LittleEndian.AppendUint32(frame, size)
	noise := make([]byte, size)
	_, _ = rand.Read(noise) // it never fails
	return append(append(packed, frame...), noise...)
}

// Get returns the content, checked against its digest; the error is
// blob.ErrMissing or blob.ErrCorrupt where it applies.
func (s *Store) Get(ctx context.Context, d desired.Digest) ([]byte, error) {
	if data, ok := s.registry.cache.get(s.project, d); ok {
		return data, nil
	}
	// Many agents ask for what is new at once; who gives up leaves the others.
	reading := context.WithoutCancel(ctx)
	answer := s.reading.DoChan(string(d), func() (any, error) { return s.fetch(reading, d) })
	select {
	case <-ctx.Done():
		return nil, s.failed("read", d, context.Cause(ctx))
	case a := <-answer:
		if a.Err != nil {
			return nil, s.failed("read", d, a.Err)
		}
		return a.Val.([]byte), nil
	}
}

func (s *Store) fetch(ctx context.Context, d desired.Digest) ([]byte, error) {
	tag, err := tagOf(d)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, transferTime)
	defer cancel()
	if err := s.registry.Claim(ctx); err != nil {
		return nil, err
	}
	there, err := find(ctx, s.repo, tag)
	if err != nil {
		return nil, err
	}
	data, err := s.content(ctx, d, there)
	if errors.Is(err, blob.ErrCorrupt) {
		s.setDamaged(d, true)
		return nil, fmt.Errorf("%w; deploy the content again", err)
	}
	if err != nil {
		return nil, err
	}
	s.registry.cache.put(s.project, d, data)
	return data, nil
}

func (s *Store) content(ctx context.Context, d desired.Digest, there found) (data []byte, err error) {
	layer, err := there.layer()
	if err != nil {
		return nil, err
	}
	body, err := s.repo.Blobs().Fetch(ctx, layer)
	if errors.Is(err, errdef.ErrNotFound) {
		return nil, fmt.Errorf("%w: its layer %s is gone", blob.ErrMissing, layer.Digest)
	}
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	packed, err := readAll(body, layer, blob.MaxBlob)
	if err != nil {
		return nil, err
	}
	return s.registry.packer.Unpack(d, packed)
}

func (s *Store) isDamaged(d desired.Digest) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.damaged[d]
}

func (s *Store) setDamaged(d desired.Digest, damaged bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if damaged {
		s.damaged[d] = true
	} else {
		delete(s.damaged, d)
	}
}

func (s *Store) failed(doing string, d desired.Digest, err error) error {
	return fmt.Errorf("%s content %s of project %s at %s: %w", doing, d.Short(), s.project, s.registry.Location, advise(err))
}
