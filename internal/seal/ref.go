package seal

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

// RefPrefix begins every reference.
const RefPrefix = "hmac-sha256:"

const refKeySize = 32

// RefKey names secret values. A plain hash would let anyone who reads content
// guess passwords; without this key a reference tells nothing. The hub keeps
// one for its lifetime: another key gives every Secret a new revision.
type RefKey struct {
	key []byte
}

// NewRefKey makes a key.
func NewRefKey() RefKey {
	key := make([]byte, refKeySize)
	rand.Read(key) // never fails: the runtime stops the program instead
	return RefKey{key: key}
}

// ParseRefKey reads what Bytes wrote.
func ParseRefKey(data []byte) (RefKey, error) {
	if len(data) != refKeySize {
		return RefKey{}, fmt.Errorf("read the key of secret references: it has %d bytes, not %d", len(data), refKeySize)
	}
	return RefKey{key: append([]byte(nil), data...)}, nil
}

// Bytes is the key itself, for the one place that stores it.
func (k RefKey) Bytes() []byte { return append([]byte(nil), k.key...) }

// String hides the key.
func (k RefKey) String() string { return "key of secret references (hidden)" }

// GoString hides the key.
func (k RefKey) GoString() string { return k.String() }

// Ref names the value that the Secret namespace/name has under key: the same
// place and value give the same reference, anything else another.
func (k RefKey) Ref(namespace, name, key string, value []byte) string {
	h := hmac.New(sha256.New, k.key)
	for _, part := range [][]byte{[]byte("atoll.dev/ref/v0"), []byte(namespace), []byte(name), []byte(key), value} {
		var size [8]byte
		binary.BigEndian.PutUint64(size[:], uint64(len(part)))
		h.Write(size[:])
		h.Write(part)
	}
	return RefPrefix + hex.EncodeToString(h.Sum(nil))
}
