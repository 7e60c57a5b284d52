package wire

import (
	"fmt"
	"io"
)

// MaxStreamHeader is in bytes.
const MaxStreamHeader = 64 << 10

// StreamHTTP is the Kind of a stream that carries HTTP/1.1 requests for the
// member's API.
const StreamHTTP = "http"

// StreamHeader opens every stream, hub to agent: what follows on it, and for
// whom. The agent maps User and Groups to the member's identities; the hub's
// word alone makes nobody anything there.
type StreamHeader struct {
	Stamp Stamp `cbor:"1,keyasint"`
	// Kind says what the stream carries: StreamHTTP.
	Kind string `cbor:"2,keyasint"`
	// User, Groups and Extra are as the hub authenticated them.
	User   string              `cbor:"3,keyasint,omitempty"`
	Groups []string            `cbor:"4,keyasint,omitempty"`
	Extra  map[string][]string `cbor:"5,keyasint,omitempty"`
	// RequestID stands in the audit logs of both sides.
	RequestID string `cbor:"6,keyasint,omitempty"`
}

// WriteStreamHeader writes h as one frame.
func WriteStreamHeader(w io.Writer, h StreamHeader) error {
	if h.Kind == "" {
		return fmt.Errorf("write stream header: it has no kind")
	}
	return writeFrame(w, h, MaxStreamHeader)
}

// ReadStreamHeader reads one frame, with the errors of ReadMessage.
func ReadStreamHeader(r io.Reader) (StreamHeader, error) {
	var h StreamHeader
	if err := readFrame(r, &h, MaxStreamHeader); err != nil {
		return StreamHeader{}, err
	}
	if h.Kind == "" {
		return StreamHeader{}, &FrameError{FaultBody, fmt.Errorf("a stream header without a kind")}
	}
	return h, nil
}
