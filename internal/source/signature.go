package source

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"maps"
	"slices"
	"strings"

	"atoll.dev/atoll/api/v1alpha1"
)

// Keys are those of which one must have signed.
type Keys struct {
	keys []signer
}

type signer struct {
	public crypto.PublicKey
	told   v1alpha1.Verified
}

// Limits of what a Secret may have verified: each key costs a computation for
// each signature.
const (
	maxKeys    = 16
	maxKeyFile = 64 << 10
	minRSA     = 2048
	maxRSA     = 16384
)

// ReadKeys takes public keys out of a Secret: all of what ends in ".pub".
func ReadKeys(s Secret) (Keys, error) {
	k := Keys{}
	_, plain, _ := strings.Cut(s.Name, "/")
	for _, name := range slices.Sorted(maps.Keys(s.Data)) {
		if !strings.HasSuffix(name, ".pub") {
			continue
		}
		rest := s.Data[name]
		if len(rest) > maxKeyFile {
			return k, Fail(KeyMissing, "%s in Secret %s has more than %d KiB", name, s.Name, maxKeyFile>>10)
		}
		for block := (*pem.Block)(nil); ; {
			if block, rest = pem.Decode(rest); block == nil {
				break
			}
			public, err := x509.ParsePKIXPublicKey(block.Bytes)
			if err != nil || !usable(public) {
				return k, Fail(KeyMissing, "%s in Secret %s holds what is no public key that can be used: ECDSA, Ed25519, or RSA of %d to %d bits, in PEM", name, s.Name, minRSA, maxRSA)
			}
			sum := sha256.Sum256(block.Bytes)
			k.keys = append(k.keys, signer{public: public, told: v1alpha1.Verified{Secret: plain, Key: name, Fingerprint: "sha256:" + hex.EncodeToString(sum[:])}})
		}
	}
	switch {
	case len(k.keys) == 0:
		return k, Fail(KeyMissing, "Secret %s has no public key in PEM; put it into cosign.pub", s.Name)
	case len(k.keys) > maxKeys:
		return k, Fail(KeyMissing, "Secret %s has more than %d public keys", s.Name, maxKeys)
	}
	return k, nil
}

func usable(public crypto.PublicKey) bool {
	switch key := public.(type) {
	case *ecdsa.PublicKey, ed25519.PublicKey:
		return true
	case *rsa.PublicKey:
		return key.N.BitLen() >= minRSA && key.N.BitLen() <= maxRSA
	}
	return false
}

// Signed says which of the keys made a signature of a text, nil if none did.
// ECDSA and RSA (PKCS #1 v1.5) sign its SHA-256, Ed25519 the text itself, as
// cosign does.
func (k Keys) Signed(text, signature []byte) *v1alpha1.Verified {
	sum := sha256.Sum256(text)
	for _, s := range k.keys {
		good := false
		switch key := s.public.(type) {
		case *ecdsa.PublicKey:
			good = ecdsa.VerifyASN1(key, sum[:], signature)
		case ed25519.PublicKey:
			good = ed25519.Verify(key, text, signature)
		case *rsa.PublicKey:
			good = rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], signature) == nil
		}
		if good {
			told := s.told
			return &told
		}
	}
	return nil
}
