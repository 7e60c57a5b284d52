package depot

import (
	"context"
	"errors"
	"fmt"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/content"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/override"
)

// OverrideRefused is the reason why an application with overrides that cannot be
// laid over its content is not delivered.
const OverrideRefused = "OverrideRefused"

// maxOverlaid bounds what is remembered of overlays.
const maxOverlaid = 10_000

// overlay is a content and the overrides that lie over it.
type overlay struct {
	project string
	whole   desired.Digest // of the content and all overrides
	of      string         // which of them count
}

// Varies tells that not all clusters get the same by intent.
func (c Content) Varies() bool { return len(c.Rendered)+len(c.Overrides) > 0 }

// Overlaid makes the content durable that comes of one where the overrides of c
// in these places count; without any it is that one. What was recorded of an earlier
// time counts while it is stored, for nobody is to hear anything new because a
// hub was started or renewed. A *Refused is for the author of the overrides to
// mend.
func (d *Depot) Overlaid(ctx context.Context, project string, c Content, under desired.Digest, of []int32, recorded desired.Digest) (desired.Digest, error) {
	if len(of) == 0 {
		return under, nil
	}
	key := overlay{project, c.Digest, fmt.Sprint(under, of)}
	d.mu.Lock()
	known, ok := d.overlaid[key]
	d.mu.Unlock()
	if ok {
		return known.digest, known.err
	}
	digest, err := d.overlay(ctx, project, c, under, of, recorded)
	var refused *Refused
	if err != nil && (!errors.As(err, &refused) || refused.Why != OverrideRefused) {
		return "", err // it passes, or content that is missed comes back
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.overlaid == nil || len(d.overlaid) >= maxOverlaid {
		d.overlaid = map[overlay]overlaid{}
	}
	d.overlaid[key] = overlaid{digest, err}
	return digest, err
}

type overlaid struct {
	digest desired.Digest
	err    error
}

func (d *Depot) overlay(ctx context.Context, project string, c Content, under desired.Digest, of []int32, recorded desired.Digest) (desired.Digest, error) {
	if recorded != "" {
		if held, err := d.Holds(ctx, project, recorded); err != nil || held {
			return recorded, err
		}
	}
	b, err := d.Bundle(ctx, project, under)
	if err != nil && !lasting(err) {
		return "", fmt.Errorf("read content %s of project %s: %w", under.Short(), project, err)
	}
	if err != nil {
		return "", &Refused{Err: fmt.Errorf("content %s, under the overrides, is not stored any more: %w", under.Short(), err)}
	}
	over, err := override.Apply(b, c.Overrides, of)
	if err != nil {
		return "", &Refused{Why: OverrideRefused, Err: err}
	}
	values, err := d.valuesOf(ctx, project, under, b)
	if err != nil {
		return "", err
	}
	kept, err := d.keep(ctx, project, content.Parsed{Bundle: over, Values: values})
	return kept.Digest, err
}

// valuesOf are the secret values of a content. Overrides change none, but values
// are kept by the content that needs them.
func (d *Depot) valuesOf(ctx context.Context, project string, digest desired.Digest, b content.Bundle) ([]content.SecretValue, error) {
	refs := b.Refs()
	if len(refs) == 0 {
		return nil, nil
	}
	stored, err := d.values(ctx, project, digest, len(refs))
	if err != nil {
		return nil, err
	}
	values := make([]content.SecretValue, 0, len(refs))
	for _, ref := range refs {
		value, ok := stored[dataKey(ref)]
		if !ok {
			return nil, fmt.Errorf("a secret value of content %s is not stored; upload the content again", digest.Short())
		}
		values = append(values, content.SecretValue{Ref: ref, Value: value})
	}
	return values, nil
}

// forgetOverlaid drops what is remembered of contents that were deleted.
func (d *Depot) forgetOverlaid() {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.overlaid)
}

// Base is the content under the overrides.
func (c Content) Base() desired.Digest {
	if c.Under != "" {
		return c.Under
	}
	return c.Digest
}

// With is c with overrides over it.
func (c Content) With(overrides []v1alpha1.Override) Content {
	if len(overrides)+len(c.Rendered) == 0 || c.Digest == "" {
		return c
	}
	c.Under, c.Overrides = c.Digest, overrides
	c.Digest = override.Whole(c.Under, c.Rendered, overrides)
	return c
}

// Recorded is the content of a Revision.
func Recorded(r *v1alpha1.Revision) Content {
	return Content{
		Digest: desired.Digest(r.Spec.Digest), Objects: int(r.Spec.Objects), Bytes: r.Spec.Bytes, Secrets: int(r.Spec.Secrets), Origin: r.Spec.Origin,
		Under: desired.Digest(r.Spec.Content), Rendered: r.Spec.Variants, Overrides: r.Spec.Overrides,
	}
}
