package oci_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"testing"
	"time"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/sandbox/artifactserver"
	"atoll.dev/atoll/internal/source"
	"atoll.dev/atoll/internal/source/oci"
)

// key is one of those that cosign makes or takes.
type key struct{ crypto.Signer }

func (k key) sign(payload []byte) ([]byte, error) {
	if _, whole := k.Signer.(ed25519.PrivateKey); whole {
		return k.Sign(rand.Reader, payload, crypto.Hash(0))
	}
	sum := sha256.Sum256(payload)
	return k.Sign(rand.Reader, sum[:], crypto.SHA256)
}

func (k key) pem(t *testing.T) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

func curve(t *testing.T) key {
	t.Helper()
	made, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key{made}
}

func keys(data map[string][]byte) source.Secret {
	return source.Secret{Name: "demo/keys", Data: data}
}

func verify(t *testing.T, s *artifactserver.Server, k source.Secret) (*v1alpha1.Verified, error) {
	t.Helper()
	o, err := open(t, oci.DefaultLimits).Open(artifact(s, v1alpha1.OCIRef{}, ""), held(s))
	if err != nil {
		t.Fatal(err)
	}
	found, err := o.Find(t.Context(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return o.Verify(t.Context(), found, k)
}

func TestASignatureByAnyOfTheKeysCounts(t *testing.T) {
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	long, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for name, signer := range map[string]key{"ECDSA": curve(t), "Ed25519": {edwards}, "RSA": {long}} {
		t.Run(name, func(t *testing.T) {
			s := serve(t)
			digest := push(t, s, "latest", flux("one"))
			both := keys(map[string][]byte{"cosign.pub": curve(t).pem(t), "next.pub": append(curve(t).pem(t), signer.pem(t)...), "ca.crt": []byte("x")})
			_, err := verify(t, s, both)
			fails(t, err, source.SignatureMissing, "is not signed")
			if err := s.Sign(t.Context(), "team/shop", digest, signer.sign, artifactserver.Payload(digest)); err != nil {
				t.Fatal(err)
			}
			told, err := verify(t, s, both)
			if err != nil || told.Key != "next.pub" || told.Secret != "keys" || !source.IsDigest(told.Fingerprint) {
				t.Errorf("%+v, %v", told, err)
			}
			_, err = verify(t, s, keys(map[string][]byte{"cosign.pub": curve(t).pem(t)}))
			fails(t, err, source.SignatureInvalid, "a key in Secret demo/keys")
		})
	}
}

// A signature is of one digest and of nothing else, wherever somebody puts it.
func TestASignatureOfSomethingElseDoesNotCount(t *testing.T) {
	signer := curve(t)
	trusted := keys(map[string][]byte{"cosign.pub": signer.pem(t)})
	other := artifactserver.Digest([]byte("other"))
	for name, c := range map[string]struct {
		payload func(digest string) []byte
		sign    func(payload []byte) ([]byte, error)
	}{
		"another digest": {func(string) []byte { return artifactserver.Payload(other) }, signer.sign},
		"another text":   {artifactserver.Payload, func(payload []byte) ([]byte, error) { return signer.sign(append(payload, ' ')) }},
		"nobody":         {artifactserver.Payload, func([]byte) ([]byte, error) { return nil, nil }},
		"no JSON":        {func(digest string) []byte { return []byte(digest) }, signer.sign},
		"no type": {func(digest string) []byte {
			return []byte(`{"critical":{"image":{"docker-manifest-digest":"` + digest + `"}}}`)
		}, signer.sign},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t)
			digest := push(t, s, "latest", flux("one"))
			if err := s.Sign(t.Context(), "team/shop", digest, c.sign, c.payload(digest)); err != nil {
				t.Fatal(err)
			}
			_, err := verify(t, s, trusted)
			fails(t, err, source.SignatureInvalid, "this very digest")
			// One that counts, beside it, is found.
			if err := s.Sign(t.Context(), "team/shop", digest, signer.sign, artifactserver.Payload(other), artifactserver.Payload(digest)); err != nil {
				t.Fatal(err)
			}
			if _, err := verify(t, s, trusted); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestKeysThatCannotBeUsedAreRefused(t *testing.T) {
	for name, data := range map[string]map[string][]byte{
		"none":        {"ca.crt": curve(t).pem(t)},
		"no PEM":      {"cosign.pub": []byte("hello")},
		"no key":      {"cosign.pub": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("x")})},
		"a large one": {"cosign.pub": make([]byte, 1<<20)},
	} {
		_, err := source.ReadKeys(source.Secret{Name: "demo/keys", Data: data})
		if err == nil {
			t.Errorf("%s is taken", name)
			continue
		}
		fails(t, err, source.KeyMissing, "Secret demo/keys")
	}
}
