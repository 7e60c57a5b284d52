package backup

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"

	"golang.org/x/crypto/chacha20poly1305"
	"golang.org/x/crypto/scrypt"
)

// scrypt's cost as its documentation advises for files: 1<<17 takes 128 MiB and
// about half a second. A file that asks for more is refused, for it could stop
// the reader.
const (
	scryptN    = 1 << 17
	maxScryptN = 1 << 20
	scryptR    = 8
	scryptP    = 1
	saltSize   = 16
	// MinPassphrase is in bytes.
	MinPassphrase = 12
)

// sealedKeys is the keys' part: scrypt (RFC 7914) makes a key of the passphrase,
// XChaCha20-Poly1305 encrypts the JSON of the files under it.
type sealedKeys struct {
	N          int    `json:"scryptN"`
	Salt       []byte `json:"salt"`
	Nonce      []byte `json:"nonce"`
	Ciphertext []byte `json:"ciphertext"`
}

var keysAAD = []byte("atoll.dev/backup-keys/v0")

// ErrPassphrase says that the passphrase is not the one.
var ErrPassphrase = errors.New("the passphrase does not open the keys in this backup")

// SealKeys encrypts files, by name, with a passphrase.
func SealKeys(passphrase []byte, files map[string][]byte) ([]byte, error) {
	if len(passphrase) < MinPassphrase {
		return nil, fmt.Errorf("encrypt the keys: the passphrase has %d bytes; take at least %d", len(passphrase), MinPassphrase)
	}
	plain, err := json.Marshal(files)
	if err != nil {
		return nil, fmt.Errorf("encrypt the keys: %w", err)
	}
	s := sealedKeys{N: scryptN, Salt: make([]byte, saltSize), Nonce: make([]byte, chacha20poly1305.NonceSizeX)}
	rand.Read(s.Salt)  // never fails
	rand.Read(s.Nonce) // never fails
	key, err := scrypt.Key(passphrase, s.Salt, s.N, scryptR, scryptP, chacha20poly1305.KeySize)
	if err != nil {
		return nil, fmt.Errorf("encrypt the keys: %w", err)
	}
	aead, err := chacha20poly1305.NewX(key)
	if err != nil {
		return nil, fmt.Errorf("encrypt the keys: %w", err)
	}
	s.Ciphertext = aead.Seal(nil, s.Nonce, plain, keysAAD)
	return json.Marshal(s)
}

// keyFile is a plain name in the keys' directory.
var keyFile = regexp.MustCompile(`^[a-z][-a-z0-9]*(\.[a-z]+)?$`)

// OpenKeys is what was sealed.
func OpenKeys(passphrase, data []byte) (map[string][]byte, error) {
	var s sealedKeys
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, fmt.Errorf("%w: its keys cannot be read: %w", ErrDamaged, err)
	}
	if s.N < 2 || s.N > maxScryptN || len(s.Salt) != saltSize || len(s.Nonce) != chacha20poly1305.NonceSizeX {
		return nil, fmt.Errorf("%w: its keys are not encrypted as they should be", ErrDamaged)
	}
	key, err := scrypt.Key(passphrase, s.Salt, s.N, scryptR, scryptP, chacha20poly1305.KeySize)
	if err != nil {
		return nil, fmt.Errorf("%w: its keys: %w", ErrDamaged, err)
	}
	aead, err := chacha20poly1305.NewX(key)
	if err != nil {
		return nil, fmt.Errorf("decrypt the keys: %w", err)
	}
	plain, err := aead.Open(nil, s.Nonce, s.Ciphertext, keysAAD)
	if err != nil {
		return nil, ErrPassphrase
	}
	var files map[string][]byte
	if err := json.Unmarshal(plain, &files); err != nil {
		return nil, fmt.Errorf("%w: its keys: %w", ErrDamaged, err)
	}
	for name := range files {
		if !keyFile.MatchString(name) {
			return nil, fmt.Errorf("%w: %q is no key's name", ErrDamaged, name)
		}
	}
	return files, nil
}
