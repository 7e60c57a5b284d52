package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// A line is the record's JSON without its hash, whose SHA-256 then takes the place
// of the last brace. So what is hashed are the very bytes of the file, and nobody
// needs to encode a record again to verify it.
const (
	hashBegin = `,"hash":"`
	hashEnd   = `"}`
	hexHash   = 2 * sha256.Size
	suffix    = len(hashBegin) + hexHash + len(hashEnd)
	seqBegin  = `{"seq":`
	prevBegin = `,"prev":"`
)

// maxLine bounds a line in bytes: many times what a bounded record makes.
const maxLine = 1 << 20

// link is a record's place in the chain.
type link struct {
	seq  uint64
	hash string
}

// encode makes the line of a record that follows after, with its newline.
func encode(r Record, after link) ([]byte, link, error) {
	r.bound()
	r.Sequence, r.Previous, r.Hash = after.seq+1, after.hash, ""
	body, err := json.Marshal(r)
	if err != nil {
		return nil, link{}, fmt.Errorf("encode record %d of the audit log: %w", r.Sequence, err)
	}
	sum := sha256.Sum256(body)
	hash := hex.EncodeToString(sum[:])
	line := append(body[:len(body)-1], hashBegin...)
	line = append(append(line, hash...), hashEnd...)
	return append(line, '\n'), link{r.Sequence, hash}, nil
}

var errLine = errors.New("is not a record")

// parse reads a line's place in the chain and the hash of the record before, and
// proves its own hash.
func parse(line []byte) (at link, prev string, err error) {
	n := len(line) - suffix
	if n < 0 || !bytes.HasPrefix(line[n:], []byte(hashBegin)) || !bytes.HasSuffix(line, []byte(hashEnd)) {
		return at, "", errLine
	}
	rest, ok := bytes.CutPrefix(line[:n], []byte(seqBegin))
	digits, rest, found := bytes.Cut(rest, []byte(prevBegin))
	if !ok || !found || len(rest) < hexHash+1 || rest[hexHash] != '"' {
		return at, "", errLine
	}
	if at.seq, err = strconv.ParseUint(string(digits), 10, 64); err != nil || at.seq == 0 {
		return at, "", errLine
	}
	at.hash, prev = string(line[n+len(hashBegin):n+len(hashBegin)+hexHash]), string(rest[:hexHash])
	h := sha256.New()
	h.Write(line[:n])
	h.Write([]byte{'}'})
	if hex.EncodeToString(h.Sum(nil)) != at.hash {
		return at, prev, fmt.Errorf("record %d does not have the hash that it says", at.seq)
	}
	return at, prev, nil
}

// decode reads all of a line.
func decode(line []byte) (Record, error) {
	var r Record
	if err := json.Unmarshal(line, &r); err != nil {
		return r, fmt.Errorf("read a record of the audit log: %w", err)
	}
	return r, nil
}
