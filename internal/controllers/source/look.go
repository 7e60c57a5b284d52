package source

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/assign"
	"atoll.dev/atoll/internal/depot"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/manifests"
	"atoll.dev/atoll/internal/source"
	"atoll.dev/atoll/internal/valuesfrom"
)

// outcome is what a look led to.
type outcome struct {
	follow    *source.Follow
	fetched   v1alpha1.FetchedSource
	condition assign.Condition
	// values are those of Secrets and ConfigMaps, as they are now.
	values valuesfrom.Values
	// lasting says that only another revision or spec changes it.
	lasting bool
}

// look asks the source and takes in what is new. An error without an outcome is
// the hub's own, and says nothing of the source.
func (r *Reconciler) look(ctx context.Context, app *v1alpha1.Application, m *memory, since time.Time) (*outcome, error) {
	follow := source.Followed(app.Spec.Source)
	o := &outcome{follow: follow, fetched: v1alpha1.FetchedSource{Of: source.Of(app)}}
	if before := app.Status.Source; before != nil && before.Of == o.fetched.Of {
		o.fetched = *before.DeepCopy()
	}
	var err error
	if o.values, err = r.values(ctx, app); err != nil {
		return o.failed(err)
	}
	origin, err := r.open(ctx, app, follow, since)
	if err != nil {
		return o.failed(err)
	}
	found, err := origin.Find(ctx, since)
	if err != nil {
		return o.failed(err)
	}
	if refused := o.fetched.Refused; refused != nil && refused.ID == found.ID {
		stays, err := r.stays(ctx, app, m, o.values)
		if err != nil {
			return nil, err
		}
		if stays {
			return o.refused(refused.Reason, refused.Message), nil
		}
	}
	m.again = false
	if err := r.verify(ctx, app, m, origin, found); err != nil {
		return o.failed(err)
	}
	current, err := r.current(ctx, app, m, o, found)
	if err != nil {
		return nil, err
	}
	if current {
		o.fetched.Refused = nil // the branch is back at what was good
		o.fetched.Commit.Verified = m.verified.by
		return o.good(), nil
	}
	return r.take(ctx, app, m, o, origin, found)
}

// stays says that a refusal is not to be judged again: nobody asked for it, and
// the clusters are of the classes, and the values those, for which it was made.
func (r *Reconciler) stays(ctx context.Context, app *v1alpha1.Application, m *memory, v valuesfrom.Values) (bool, error) {
	if m.again || m.unfitValues != v.Versions {
		return false, nil
	}
	now, err := r.Render.Fleet(ctx, app)
	var failure *source.Failure
	if errors.As(err, &failure) {
		return true, nil // another spec mends it
	}
	return now == m.unfit, err
}

// current says that a revision was taken in, for clusters and with values such as
// there are now, and that its content is still stored.
func (r *Reconciler) current(ctx context.Context, app *v1alpha1.Application, m *memory, o *outcome, found source.Found) (bool, error) {
	f := o.fetched
	if f.Values != o.values.Versions || f.Commit == nil || f.Digest == "" || f.Commit.ID != found.ID || f.Commit.Ref != found.Ref {
		return false, nil
	}
	if f.Fleet != "" {
		now, err := r.Render.Fleet(ctx, app)
		if err != nil || now != f.Fleet {
			return false, err
		}
	}
	digest := desired.Digest(f.Digest)
	if m.sure == digest {
		return true, nil
	}
	holds, err := r.Depot.Holds(ctx, app.Namespace, digest)
	for _, v := range f.Variants {
		if holds {
			holds, err = r.Depot.Holds(ctx, app.Namespace, desired.Digest(v.Content))
		}
	}
	if holds {
		m.sure = digest
	}
	return holds, err
}

// take fetches, renders and stores a revision.
func (r *Reconciler) take(ctx context.Context, app *v1alpha1.Application, m *memory, o *outcome, origin source.Origin, found source.Found) (*outcome, error) {
	// First: a cluster that comes meanwhile has a refusal judged again.
	var err error
	m.unfitValues = o.values.Versions
	if m.unfit, err = r.Render.Fleet(ctx, app); err != nil {
		return o.refusedAt(found, err)
	}
	snapshot, release, err := origin.Fetch(ctx, found)
	if err != nil {
		return o.refusedAt(found, err)
	}
	defer release()
	rendered, err := r.Render.Render(ctx, app, snapshot, o.values)
	if err != nil {
		return o.refusedAt(found, o.masked(err))
	}
	kept, variants, err := r.keep(ctx, app, rendered, o.values)
	err = o.masked(err)
	var refused *depot.Refused
	var failure *source.Failure
	switch {
	case errors.As(err, &refused):
		return o.refusedAt(found, source.Refuse(refused.Reason(), "%s: %w", place(snapshot.Path), refused.Err))
	case errors.As(err, &failure):
		return o.refusedAt(found, err)
	case err != nil:
		return nil, fmt.Errorf("store what application %s/%s fetched: %w", app.Namespace, app.Name, err)
	}
	commit := snapshot.Revision.Commit()
	commit.Chart, commit.Verified = source.Line(rendered.Chart), m.verified.by
	if before := o.fetched.Commit; before != nil && before.Ref == commit.Ref && before.ID != commit.ID && commit.Ref != "" && origin.Replaces(ctx, before, commit) {
		commit.Replaces = before.ID
	}
	o.fetched.Commit, o.fetched.Digest, o.fetched.Refused = commit, string(kept.Digest), nil
	o.fetched.Fleet, o.fetched.Renders, o.fetched.Variants = rendered.Fleet, int32(rendered.Renders), variants
	o.fetched.Values = o.values.Versions
	m.sure = kept.Digest
	r.warn(app, o, rendered.Warnings)
	return o.good(), nil
}

// keep makes everything durable that a revision was rendered to.
func (r *Reconciler) keep(ctx context.Context, app *v1alpha1.Application, rendered manifests.Manifests, v valuesfrom.Values) (first depot.Content, variants []v1alpha1.RenderVariant, err error) {
	if len(rendered.Variants) == 0 {
		first, err = r.Depot.Keep(ctx, app, rendered.Files, v.Check)
		return first, nil, err
	}
	for i, variant := range rendered.Variants {
		kept, err := r.Depot.Keep(ctx, app, variant.Files, v.Check)
		if err != nil {
			return first, nil, err
		}
		if i == 0 {
			first = kept
		}
		record := variant.Record(kept.Digest)
		for _, a := range record.Asked {
			if v.Mask(a.Arg) != a.Arg {
				return first, nil, source.Refuse(valuesfrom.Refused, "its templates ask Kubernetes for %s, which a Secret says: that would be written down", v.Mask(a.Arg))
			}
		}
		variants = append(variants, record)
	}
	return first, variants, nil
}

func place(folder string) string {
	if folder == "." {
		return "the repository"
	}
	return "folder " + folder
}

// good is an outcome with its newest revision taken in.
func (o *outcome) good() *outcome {
	c := o.fetched.Commit
	message := o.follow.Told(c)
	if c.Ref != "" && o.follow.Kind == source.Git {
		message += " (" + shortRef(c.Ref) + ")"
	}
	if c.Chart != "" {
		message += ", chart " + c.Chart
	}
	message += o.follow.Valued(o.fetched.Values)
	if c.Message != "" {
		message += ": " + c.Message
	}
	if c.Verified != nil {
		message += fmt.Sprintf(", signed with %s of Secret %s", c.Verified.Key, c.Verified.Secret)
	}
	if c.Replaces != "" {
		message += "; " + o.replaced(c)
	}
	o.condition = assign.Condition{True: true, Reason: "Fetched", Message: message}
	return o
}

// replaced says what a rewritten history is, or a version made anew.
func (o *outcome) replaced(c *v1alpha1.Commit) string {
	if o.follow.Kind == source.Git {
		return "history was rewritten, and no longer holds " + source.ShortID(c.Replaces)
	}
	return "the same version was " + source.ShortID(c.Replaces) + " before"
}

func shortRef(ref string) string {
	for _, prefix := range []string{"refs/heads/", "refs/tags/"} {
		if name, ok := strings.CutPrefix(ref, prefix); ok {
			return name
		}
	}
	return ref
}

// failed is an outcome in which what was fetched before stays.
func (o *outcome) failed(err error) (*outcome, error) {
	var failure *source.Failure
	if !errors.As(err, &failure) {
		return nil, err
	}
	o.lasting = failure.Lasting
	o.condition = assign.Condition{Reason: failure.Reason, Message: failure.Error()}
	if o.fetched.Commit != nil {
		o.condition.Message += "; " + o.follow.Noun() + " " + source.ShortID(o.fetched.Commit.ID) + " stays"
	}
	return o, nil
}

// refusedAt records a revision that will fail again, so that it is not fetched
// again.
func (o *outcome) refusedAt(found source.Found, err error) (*outcome, error) {
	var failure *source.Failure
	if !errors.As(err, &failure) || !failure.Lasting {
		return o.failed(err)
	}
	message := fmt.Sprintf("%s %s: %s", o.follow.Noun(), source.ShortID(found.ID), failure.Error())
	o.fetched.Refused = &v1alpha1.RefusedCommit{ID: found.ID, Reason: failure.Reason, Message: clip(message)}
	return o.refused(failure.Reason, o.fetched.Refused.Message), nil
}

func (o *outcome) refused(reason, message string) *outcome {
	o.lasting = true
	o.condition = assign.Condition{Reason: reason, Message: message}
	return o
}

// maxRefusal is what the API takes of a refusal, in bytes.
const maxRefusal = 2048

func clip(s string) string {
	if len(s) <= maxRefusal {
		return s
	}
	return strings.ToValidUTF8(s[:maxRefusal-3], "") + "…"
}
