package oci

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/errdef"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/source"
)

// Of cosign's signatures, by its specification
// (github.com/sigstore/cosign, specs/SIGNATURE_SPEC.md): they lie under a tag
// made of the signed digest, one layer for each, which is the text that is
// signed.
const (
	signatureSuffix     = ".sig"
	signatureLayer      = "application/vnd.dev.cosign.simplesigning.v1+json"
	signatureAnnotation = "dev.cosignproject.cosign/signature"
	signatureType       = "cosign container image signature"
	// maxPayload is of one text, and maxSignature of one signature in base64.
	maxPayload   = 64 << 10
	maxSignature = 16 << 10
)

// Verify is source.Origin's.
func (o *origin) Verify(ctx context.Context, f source.Found, held source.Secret) (*v1alpha1.Verified, error) {
	keys, err := source.ReadKeys(held)
	if err != nil {
		return nil, err
	}
	ctx, cancel := o.of.within(ctx)
	defer cancel()
	where := strings.Replace(f.ID, ":", "-", 1) + signatureSuffix
	missing := source.Fail(source.SignatureMissing, "%s of %s is not signed: it has no tag %s; sign it with: cosign sign --key cosign.key --new-bundle-format=false %s/%s@%s",
		source.ShortID(f.ID), o, where, o.at.Host, o.at.Path, f.ID)
	d, err := o.repository.Resolve(ctx, where)
	if err != nil {
		return nil, o.failure(err, missing)
	}
	m, err := o.manifest(ctx, d)
	if err != nil {
		return nil, lasts(err)
	}
	var found int
	for _, l := range m.Layers {
		if l.MediaType != signatureLayer {
			continue
		}
		if found++; found > o.of.limits.Signatures {
			break
		}
		told, err := o.signature(ctx, l, f.ID, keys)
		if told != nil || err != nil {
			return told, err
		}
	}
	if found == 0 {
		return nil, missing
	}
	return nil, source.Fail(source.SignatureInvalid, "none of the signatures of %s of %s is one of this very digest by a key in Secret %s", source.ShortID(f.ID), o, held.Name)
}

// lasts says that a signature may be replaced, whatever is wrong with it.
func lasts(err error) error {
	var failure *source.Failure
	if errors.As(err, &failure) && failure.Lasting {
		return source.Fail(source.SignatureInvalid, "its signature: %w", failure.Err)
	}
	return err
}

// signature judges one; nil without an error is one that does not count.
func (o *origin) signature(ctx context.Context, l ocispec.Descriptor, digest string, keys source.Keys) (*v1alpha1.Verified, error) {
	encoded := l.Annotations[signatureAnnotation]
	if l.Size > maxPayload || len(encoded) > maxSignature || !source.IsDigest(string(l.Digest)) {
		return nil, nil
	}
	signature, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(signature) == 0 {
		return nil, nil
	}
	in, err := o.repository.Blobs().Fetch(ctx, l)
	if errors.Is(err, errdef.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, o.failure(err, o.gone(l))
	}
	defer in.Close()
	text, err := content.ReadAll(in, l)
	switch {
	case errors.Is(err, content.ErrMismatchedDigest), errors.Is(err, content.ErrInvalidDescriptorSize), errors.Is(err, content.ErrTrailingData):
		return nil, nil
	case err != nil:
		return nil, o.failure(err, o.gone(l))
	}
	if signs(text, digest) != nil {
		return nil, nil
	}
	return keys.Signed(text, signature), nil
}

// signs says why a text is not about a digest.
func signs(text []byte, digest string) error {
	var payload struct {
		Critical struct {
			Type  string `json:"type"`
			Image struct {
				Digest string `json:"docker-manifest-digest"`
			} `json:"image"`
		} `json:"critical"`
	}
	if err := json.Unmarshal(text, &payload); err != nil {
		return fmt.Errorf("it is no text that cosign signs: %w", err)
	}
	if c := payload.Critical; c.Type != signatureType || c.Image.Digest != digest {
		return fmt.Errorf("it is %q of %q", c.Type, c.Image.Digest)
	}
	return nil
}
