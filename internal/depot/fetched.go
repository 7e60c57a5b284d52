package depot

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/content"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/source"
)

// Keep makes what was fetched for an application durable, unless check, which may be
// nil, objects; a *Refused is for the owner of the source to mend. Nothing is refused that makes an application of
// no object: whoever would have it all deleted has other ways to say so.
func (d *Depot) Keep(ctx context.Context, app *v1alpha1.Application, files []content.File, check func(content.Bundle) error) (Content, error) {
	parsed, err := content.Parse(files, content.Options{Ref: d.refs.Ref, Namespace: app.Spec.Namespace})
	if err != nil {
		return Content{}, &Refused{Err: err}
	}
	if len(parsed.Bundle.Objects) == 0 {
		return Content{}, &Refused{Why: source.SourceEmpty, Err: errors.New("there is no object in it")}
	}
	if check != nil {
		if err := check(parsed.Bundle); err != nil {
			return Content{}, err
		}
	}
	return d.keep(ctx, app.Namespace, parsed)
}

// Holds says whether a content is stored and can be read; an error is that
// this cannot be told now.
func (d *Depot) Holds(ctx context.Context, project string, digest desired.Digest) (bool, error) {
	_, err := d.Bundle(ctx, project, digest)
	if err != nil && !lasting(err) {
		return false, fmt.Errorf("look for content %s of project %s: %w", digest.Short(), project, err)
	}
	return err == nil, nil
}

// admitFetched takes what the hub fetched last for the present spec. A newer
// commit that was refused makes the application refused, and what runs stays;
// a repository that cannot be reached changes nothing.
func (d *Depot) admitFetched(ctx context.Context, app *v1alpha1.Application) (Content, error) {
	fetched := app.Status.Source
	switch {
	case fetched == nil || fetched.Of != source.Of(app):
		return Content{}, d.notYet(app)
	case fetched.Refused != nil:
		return Content{}, &Refused{Why: fetched.Refused.Reason, Err: errors.New(fetched.Refused.Message)}
	case fetched.Digest == "" || fetched.Commit == nil:
		return Content{}, d.notYet(app)
	}
	digest := desired.Digest(fetched.Digest)
	b, data, err := d.bundle(ctx, app.Namespace, digest)
	if err != nil && !lasting(err) {
		return Content{}, fmt.Errorf("admit application %s/%s: %w", app.Namespace, app.Name, err)
	}
	if err != nil {
		return Content{}, &Refused{Why: "Fetching", Err: fmt.Errorf("content %s is not stored any more and is fetched again: %w", digest.Short(), err)}
	}
	c := describe(b, data)
	c.Commit, c.Rendered = fetched.Commit, fetched.Variants
	follow := source.Followed(app.Spec.Source)
	c.Origin = source.Line(follow.Told(fetched.Commit) + follow.Valued(fetched.Values))
	return c, nil
}

// notYet says why nothing of the present spec was fetched, if that is known.
func (d *Depot) notYet(app *v1alpha1.Application) error {
	c := meta.FindStatusCondition(app.Status.Conditions, v1alpha1.ConditionFetched)
	if c != nil && c.Status == "False" && c.ObservedGeneration == app.Generation {
		return &Refused{Why: c.Reason, Err: errors.New(c.Message)}
	}
	return &Refused{Why: "Fetching", Err: fmt.Errorf("%s is being fetched", source.Followed(app.Spec.Source).URL)}
}
