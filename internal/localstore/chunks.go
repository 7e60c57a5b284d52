package localstore

import (
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

// window is small: it, not the data, decides what the codecs keep in memory,
// and an agent has 60 MiB for everything.
const window = 512 << 10

var (
	packer, _   = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(window), zstd.WithLowerEncoderMem(true))
	unpacker, _ = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxPiece), zstd.WithDecoderLowmem(true))
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
		if err := s.write(ctx, name, chunk); err != nil {
			return nil, fmt.Errorf("write to the local store: %w", full(err))
		}
		s.present[name] = true
	}
	return names, nil
}

// write creates a chunk, in place of a damaged one if there is such.
func (s *Store) write(ctx context.Context, name string, chunk []byte) error {
	immutable := true
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{chunkLabel: "true"}},
		Type:       chunkType,
		Immutable:  &immutable,
		Data:       map[string][]byte{keyData: chunk},
	}
	_, err := s.secrets.Create(ctx, secret, metav1.CreateOptions{})
	if !apierrors.IsAlreadyExists(err) {
		return err
	}
	if _, err = s.chunk(ctx, name); !isLost(err) {
		return err
	}
	if err := s.secrets.Delete(ctx, name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	_, err = s.secrets.Create(ctx, secret, metav1.CreateOptions{})
	return err
}

// all reports whether these chunks are known to be there.
func (s *Store) all(chunks []string) bool {
	return !slices.ContainsFunc(chunks, func(name string) bool { return !s.present[name] })
}

func chunkName(chunk []byte) string {
	return chunkPrefix + string(desired.Sum(chunk)[len("sha256:"):][:32])
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
