package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/fxamacker/cbor/v2"
)

// A frame is a 4-byte big-endian length and that many bytes of CBOR (RFC 8949,
// core deterministic encoding).
const headerSize = 4

// firstRead is what a frame may make the reader allocate before its bytes have
// come: a length is only a claim.
const firstRead = 32 << 10

// Fault says what is wrong with a frame.
type Fault string

// The faults of a frame. After any of them the connection is of no use.
const (
	// FaultTooLarge: the length is above the limit.
	FaultTooLarge Fault = "TooLarge"
	// FaultTruncated: the connection ended inside a frame.
	FaultTruncated Fault = "Truncated"
	// FaultMalformed: the bytes are not the CBOR this protocol allows.
	FaultMalformed Fault = "Malformed"
	// FaultBody: not exactly one body that this build knows. A new body is only
	// sent to a peer that negotiated a version which has it.
	FaultBody Fault = "Body"
)

// FrameError is a frame that cannot be used.
type FrameError struct {
	Fault Fault
	Err   error
}

// Error says the fault and its cause.
func (e *FrameError) Error() string { return fmt.Sprintf("%s frame: %v", e.Fault, e.Err) }

// Unwrap is the cause.
func (e *FrameError) Unwrap() error { return e.Err }

// WriteMessage writes m as one frame in one Write.
func WriteMessage(w io.Writer, m Message) error {
	if err := m.check(); err != nil {
		return fmt.Errorf("write message: %w", err)
	}
	return writeFrame(w, m, MaxFrame)
}

// ReadMessage reads one frame. It returns io.EOF only when the connection
// ended between frames, else a *FrameError or the reader's own error.
func ReadMessage(r io.Reader) (Message, error) {
	var m Message
	if err := readFrame(r, &m, MaxFrame); err != nil {
		return Message{}, err
	}
	if err := m.check(); err != nil {
		return Message{}, err
	}
	return m, nil
}

// check allows exactly one body.
func (m *Message) check() error {
	n := 0
	for _, set := range []bool{
		m.Hello != nil, m.Welcome != nil, m.Refusal != nil, m.Heartbeat != nil, m.Desired != nil,
		m.Want != nil, m.Content != nil, m.Report != nil, m.Resend != nil, m.Upgrade != nil,
	} {
		if set {
			n++
		}
	}
	if n != 1 {
		return &FrameError{FaultBody, fmt.Errorf("a message has one body, this one has %d known", n)}
	}
	return nil
}

func writeFrame(w io.Writer, v any, limit int) error {
	var buf bytes.Buffer
	buf.Write(make([]byte, headerSize))
	if err := encoder.NewEncoder(&buf).Encode(v); err != nil {
		return fmt.Errorf("encode %T: %w", v, err)
	}
	size := buf.Len() - headerSize
	if size > limit {
		return &FrameError{FaultTooLarge, fmt.Errorf("%d bytes to send, the limit is %d", size, limit)}
	}
	frame := buf.Bytes()
	binary.BigEndian.PutUint32(frame, uint32(size)) // #nosec G115 -- below limit
	if _, err := w.Write(frame); err != nil {
		return fmt.Errorf("write frame of %d bytes: %w", size, err)
	}
	return nil
}

func readFrame(r io.Reader, v any, limit int) error {
	var header [headerSize]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return &FrameError{FaultTruncated, err}
		}
		return err
	}
	size := binary.BigEndian.Uint32(header[:])
	if uint64(size) > uint64(limit) {
		return &FrameError{FaultTooLarge, fmt.Errorf("%d bytes announced, the limit is %d", size, limit)}
	}
	body, err := readBody(r, int(size))
	if err != nil {
		return err
	}
	if err := decoder.Unmarshal(body, v); err != nil {
		return &FrameError{FaultMalformed, err}
	}
	return nil
}

// readBody grows with what arrives, so that announcing megabytes costs the
// announcer megabytes too.
func readBody(r io.Reader, size int) ([]byte, error) {
	var buf bytes.Buffer
	buf.Grow(min(size, firstRead) + bytes.MinRead)
	n, err := buf.ReadFrom(io.LimitReader(r, int64(size)))
	if err == nil && n < int64(size) {
		err = io.ErrUnexpectedEOF
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, &FrameError{FaultTruncated, fmt.Errorf("%d of %d bytes came: %w", n, size, err)}
	}
	if err != nil {
		return nil, fmt.Errorf("read frame of %d bytes: %w", size, err)
	}
	return buf.Bytes(), nil
}

var encoder = func() cbor.EncMode {
	mode, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		panic(err)
	}
	return mode
}()

// decoder bounds what foreign bytes can cost. The deepest message, a report's
// problem with its object, nests eight levels.
var decoder = func() cbor.DecMode {
	mode, err := cbor.DecOptions{
		DupMapKey:        cbor.DupMapKeyEnforcedAPF,
		IndefLength:      cbor.IndefLengthForbidden,
		TagsMd:           cbor.TagsForbidden,
		MaxNestedLevels:  16,
		MaxArrayElements: 1 << 16,
		MaxMapPairs:      1 << 14,
	}.DecMode()
	if err != nil {
		panic(err)
	}
	return mode
}()
