package depot

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/internal/desired"
)

// Draft is a depot that decides as d does over what d keeps, and keeps what is
// put into it in memory only. What it would write as objects goes to c, which
// should write nothing.
func (d *Depot) Draft(c client.Client) *Depot {
	return New(&drafts{under: d, stores: map[string]*draft{}}, c, d.namespace, d.refs)
}

type drafts struct {
	under *Depot

	mu     sync.Mutex
	stores map[string]*draft
}

func (s *drafts) Project(name string) (Store, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.stores[name]; known != nil {
		return known, nil
	}
	under, err := s.under.store(name)
	if err != nil {
		return nil, err
	}
	s.stores[name] = &draft{under: under, depot: s.under, project: name, held: map[desired.Digest][]byte{}}
	return s.stores[name], nil
}

func (s *drafts) Projects(ctx context.Context) ([]string, error) { return s.under.kept.Projects(ctx) }

// draft is a store over another that is only read.
type draft struct {
	under Store
	// depot has what is not in its store yet.
	depot   *Depot
	project string

	mu   sync.Mutex
	held map[desired.Digest][]byte
}

func (s *draft) Put(_ context.Context, d desired.Digest, data []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held[d] = data
	return nil
}

func (s *draft) Get(ctx context.Context, d desired.Digest) ([]byte, error) {
	s.mu.Lock()
	data, ok := s.held[d]
	s.mu.Unlock()
	if ok {
		return data, nil
	}
	return s.depot.Content(ctx, s.project, d)
}

func (s *draft) Digests(ctx context.Context) ([]desired.Digest, error) {
	stored, err := s.under.Digests(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.AppendSeq(stored, maps.Keys(s.held)), err
}

func (s *draft) Stored(ctx context.Context, d desired.Digest) (time.Time, error) {
	return s.under.Stored(ctx, d)
}

// Delete lets go of a draft; what is stored is not a draft's to delete.
func (s *draft) Delete(_ context.Context, d desired.Digest) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.held, d)
	return nil
}
