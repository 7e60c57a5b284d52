package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
)

// AtRest keeps values unreadable in a store that does not encrypt by itself, or
// with a key that its owner has. It prints nothing of its keys.
type AtRest struct {
	// The first encrypts; all of them decrypt, so that keys can rotate.
	ciphers []cipher.AEAD
}

// atRestDomain keeps the derived key apart from every other use of its source.
const atRestDomain = "atoll.dev/values-at-rest/v0"

// NewAtRest derives one key from each secret; a secret has at least 16 bytes
// that cannot be guessed.
func NewAtRest(secrets ...[]byte) (AtRest, error) {
	if len(secrets) == 0 {
		return AtRest{}, errors.New("no key is there to encrypt values with")
	}
	var a AtRest
	for _, secret := range secrets {
		if len(secret) < 16 {
			return AtRest{}, errors.New("a key to encrypt values with is too short")
		}
		key, err := hkdf.Key(sha256.New, secret, nil, atRestDomain, 32)
		if err != nil {
			return AtRest{}, fmt.Errorf("derive the key of values: %w", err)
		}
		block, err := aes.NewCipher(key)
		if err != nil {
			return AtRest{}, fmt.Errorf("use the key of values: %w", err)
		}
		aead, err := cipher.NewGCMWithRandomNonce(block)
		if err != nil {
			return AtRest{}, fmt.Errorf("use the key of values: %w", err)
		}
		a.ciphers = append(a.ciphers, aead)
	}
	return a, nil
}

// String hides the keys.
func (a AtRest) String() string { return "keys of values at rest (hidden)" }

// GoString hides the keys.
func (a AtRest) GoString() string { return a.String() }

// Seal encrypts a value so that it can be opened only in its place.
func (a AtRest) Seal(place string, value []byte) []byte {
	return a.ciphers[0].Seal(nil, nil, value, []byte(place))
}

// Open decrypts what Seal gave for the same place.
func (a AtRest) Open(place string, sealed []byte) ([]byte, error) {
	for _, c := range a.ciphers {
		if value, err := c.Open(nil, nil, sealed, []byte(place)); err == nil {
			return value, nil
		}
	}
	return nil, fmt.Errorf("the value at %s was encrypted with another key, for another place, or is damaged", place)
}
