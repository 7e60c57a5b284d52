package backup

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/klauspost/compress/zstd"
)

// A part of the store holds records up to recordsSize and is compressed; one
// record may have maxRecord. Both in bytes, uncompressed.
const (
	recordsSize = 4 << 20
	maxRecord   = 16 << 20
)

// Records collects records of a store into parts.
type Records struct {
	// Emit takes a full part's number and bytes.
	Emit  func(number int, part []byte) error
	buf   []byte
	parts int
}

// Add takes one record.
func (r *Records) Add(key string, value []byte) error {
	if len(key)+len(value) > maxRecord {
		return fmt.Errorf("back up %s: it has %d bytes", key, len(value))
	}
	r.buf = appendBytes(appendBytes(r.buf, []byte(key)), value)
	if len(r.buf) < recordsSize {
		return nil
	}
	return r.Flush()
}

// Flush emits what is left.
func (r *Records) Flush() error {
	if len(r.buf) == 0 {
		return nil
	}
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return fmt.Errorf("prepare compression: %w", err)
	}
	r.parts++
	packed := encoder.EncodeAll(r.buf, nil)
	r.buf = r.buf[:0]
	return r.Emit(r.parts, packed)
}

func appendBytes(to, data []byte) []byte {
	return append(binary.AppendUvarint(to, uint64(len(data))), data...)
}

// EachRecord hands out the records of one part.
func EachRecord(part []byte, each func(key string, value []byte) error) error {
	decoder, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(recordsSize+maxRecord+1<<10))
	if err != nil {
		return fmt.Errorf("prepare decompression: %w", err)
	}
	defer decoder.Close()
	data, err := decoder.DecodeAll(part, nil)
	if err != nil {
		return fmt.Errorf("%w: its records cannot be unpacked: %w", ErrDamaged, err)
	}
	for len(data) > 0 {
		var key, value []byte
		if key, data, err = takeBytes(data); err == nil {
			value, data, err = takeBytes(data)
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		if err := each(string(key), value); err != nil {
			return err
		}
	}
	return nil
}

func takeBytes(data []byte) (taken, rest []byte, err error) {
	n, size := binary.Uvarint(data)
	if size <= 0 || n > uint64(len(data)-size) {
		return nil, nil, errors.New("a record is cut")
	}
	return data[size : size+int(n)], data[size+int(n):], nil
}
