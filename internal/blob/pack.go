package blob

import (
	"fmt"

	"github.com/klauspost/compress/zstd"

	"atoll.dev/atoll/internal/desired"
)

// MaxBlob is the size of one blob, uncompressed, in bytes.
const MaxBlob = 256 << 20

// Packer compresses blobs, and checks what it unpacks. It is safe for
// concurrent use.
type Packer struct {
	encoder *zstd.Encoder
	decoder *zstd.Decoder
}

// NewPacker is a Packer that takes little memory while it is idle.
func NewPacker() (*Packer, error) {
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20))
	if err != nil {
		return nil, fmt.Errorf("prepare compression: %w", err)
	}
	decoder, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(MaxBlob), zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, fmt.Errorf("prepare decompression: %w", err)
	}
	return &Packer{encoder: encoder, decoder: decoder}, nil
}

// Pack compresses data, as zstd.
func (p *Packer) Pack(data []byte) []byte { return p.encoder.EncodeAll(data, nil) }

// Unpack is what was packed, or ErrCorrupt unless that has the digest.
func (p *Packer) Unpack(d desired.Digest, packed []byte) ([]byte, error) {
	data, err := p.decoder.DecodeAll(packed, nil)
	if err != nil || desired.Sum(data) != d {
		return nil, ErrCorrupt
	}
	return data, nil
}

// Verify refuses to store data under the digest of something else, or more
// than a blob may have.
func Verify(d desired.Digest, data []byte) error {
	if got := desired.Sum(data); got != d {
		return fmt.Errorf("the bytes have the digest %s", got.Short())
	}
	if len(data) > MaxBlob {
		return fmt.Errorf("%d bytes are more than %d", len(data), MaxBlob)
	}
	return nil
}
