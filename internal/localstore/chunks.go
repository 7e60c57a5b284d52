package localstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/klauspost/compress/zstd"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"atoll.dev/atoll/internal/desired"
)

// maxChunk is in bytes, compressed; Kubernetes allows a Secret 1 MiB.
const maxChunk = 512 << 10

// maxPiece bounds what a piece may unpack to, in bytes.
const maxPiece = 128 << 20

var (
	packer, _   = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	unpacker, _ = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxPiece))
)

// errLost is a chunk that is missing or not what its name says.
type errLost struct{ chunk, why string }

func (e *errLost) Error() string {
	return fmt.Sprintf("chunk %s of the local store is %s", e.chunk, e.why)
}

func isLost(err error) bool {
	var lost *errLost
	return errors.As(err, &lost)
}

// put writes a piece and returns its chunks; those already there cost nothing.
func (s *Store) put(ctx context.Context, data []byte) ([]string, error) {
	var names []string
	for chunk := range slices.Chunk(packer.EncodeAll(data, nil), maxChunk) {
		name := chunkName(chunk)
		names = append(names, name)
		if s.present[name] {
			continue
		}
		immutable := true
		_, err := s.secrets.Create(ctx, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{chunkLabel: "true"}},
			Type:       chunkType,
			Immutable:  &immutable,
			Data:       map[string][]byte{keyData: chunk},
		}, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) {
			err = s.verify(ctx, name)
		}
		if err != nil {
			return nil, fmt.Errorf("write to the local store: %w", full(err))
		}
		s.present[name] = true
	}
	return names, nil
}

// verify replaces a chunk of that name that is damaged.
func (s *Store) verify(ctx context.Context, name string) error {
	_, err := s.chunk(ctx, name)
	if !isLost(err) {
		return err
	}
	if err := s.secrets.Delete(ctx, name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	return fmt.Errorf("a damaged chunk %s was removed; it is written at the next attempt", name)
}

func chunkName(chunk []byte) string {
	return chunkPrefix + string(desired.Sum(chunk)[len("sha256:"):][:32])
}

// get reads a piece.
func (s *Store) get(ctx context.Context, names []string) ([]byte, error) {
	var packed bytes.Buffer
	for _, name := range names {
		chunk, err := s.chunk(ctx, name)
		if err != nil {
			return nil, err
		}
		s.present[name] = true
		packed.Write(chunk)
	}
	data, err := unpacker.DecodeAll(packed.Bytes(), nil)
	if err != nil {
		return nil, &errLost{fmt.Sprint(names), "unreadable"}
	}
	return data, nil
}

func (s *Store) chunk(ctx context.Context, name string) ([]byte, error) {
	secret, err := s.secrets.Get(ctx, name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, &errLost{name, "missing"}
	case err != nil:
		return nil, fmt.Errorf("read the local store: %w", err)
	case chunkName(secret.Data[keyData]) != name:
		return nil, &errLost{name, "damaged"}
	}
	return secret.Data[keyData], nil
}

// sweep deletes chunks that neither the present list nor the one before needs.
func (s *Store) sweep(ctx context.Context) error {
	needed := map[string]bool{}
	for _, l := range []list{s.current, s.backup} {
		for _, names := range l {
			for _, n := range names {
				needed[n] = true
			}
		}
	}
	for name := range s.present {
		if needed[name] {
			continue
		}
		if err := s.secrets.Delete(ctx, name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			return nil // it is only garbage: the next sweep finds it again
		}
		delete(s.present, name)
	}
	return nil
}

// SweepStrays deletes chunks that an agent killed in mid-save left behind.
func (s *Store) SweepStrays(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.open(ctx); err != nil {
		return err
	}
	all, err := s.secrets.List(ctx, metav1.ListOptions{LabelSelector: chunkLabel + "=true"})
	if err != nil {
		return fmt.Errorf("list the local store: %w", err)
	}
	for i := range all.Items {
		s.present[all.Items[i].Name] = true
	}
	return s.sweep(ctx)
}
