package desired

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
)

// Summing is the hash of keys with a digest each, in the order in which they are
// added, which is that of the keys. Hubs and agents of all versions compare such:
// what goes in is "project/application digest", line by line.
type Summing struct {
	hash hash.Hash
	line []byte
}

// NewSum has nothing in it.
func NewSum() *Summing { return &Summing{hash: sha256.New()} }

// Add puts one in.
func (s *Summing) Add(k Key, d Digest) {
	s.line = append(append(append(s.line[:0], k.Project...), '/'), k.Application...)
	s.line = append(append(append(s.line, ' '), d...), '\n')
	s.hash.Write(s.line)
}

// Digest is of all that was added.
func (s *Summing) Digest() Digest { return digestOf(s.hash.Sum(nil)) }

func digestOf(sum []byte) Digest {
	var text [len(digestPrefix) + 2*sha256.Size]byte
	copy(text[:], digestPrefix)
	hex.Encode(text[len(digestPrefix):], sum)
	return Digest(text[:])
}

const digestPrefix = "sha256:"
