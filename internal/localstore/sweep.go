package localstore

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// sweep deletes the chunks we know of that neither the present list nor the
// one before needs. A failure leaves garbage, which the next sweep finds again.
func (s *Store) sweep(ctx context.Context) {
	needed := s.needed()
	for name := range s.present {
		if needed[name] {
			continue
		}
		if err := s.secrets.Delete(ctx, name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			return
		}
		delete(s.present, name)
	}
}

func (s *Store) needed() map[string]bool {
	needed := map[string]bool{}
	for _, l := range []list{s.current, s.backup} {
		for _, names := range l {
			for _, n := range names {
				needed[n] = true
			}
		}
	}
	return needed
}

// SweepStrays looks through the store: it deletes chunks made before the time
// given that nothing refers to, which an agent killed in mid-save left behind,
// and tells whether all that the present list needs is there. When it is not,
// the next Save writes it again.
func (s *Store) SweepStrays(ctx context.Context, before time.Time) (whole bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.open(ctx); err != nil {
		return false, err
	}
	found, err := s.listChunks(ctx)
	if err != nil {
		return false, err
	}
	needed := s.needed()
	s.present = make(map[string]bool, len(found))
	for _, chunk := range found {
		if needed[chunk.Name] || chunk.CreationTimestamp.Time.Before(before) {
			s.present[chunk.Name] = true
		}
	}
	s.sweep(ctx)
	whole = true
	for piece, names := range s.current {
		if !s.all(names) {
			delete(s.current, piece) // the next Save writes it anew
			whole, s.mend = false, true
		}
	}
	return whole, nil
}

// listChunks asks for names and ages alone: the chunks together may be larger
// than the agent.
func (s *Store) listChunks(ctx context.Context) ([]metav1.PartialObjectMetadata, error) {
	raw, err := s.rest.Get().Namespace(s.namespace).Resource("secrets").
		Param("labelSelector", chunkLabel+"=true").
		SetHeader("Accept", "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1").
		DoRaw(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the local store: %w", err)
	}
	var found metav1.PartialObjectMetadataList
	if err := json.Unmarshal(raw, &found); err != nil {
		return nil, fmt.Errorf("list the local store: %w", err)
	}
	return found.Items, nil
}
