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
	"atoll.dev/atoll/internal/source"
	"atoll.dev/atoll/internal/source/git"
)

// outcome is what a look led to.
type outcome struct {
	fetched   v1alpha1.FetchedSource
	condition assign.Condition
	// lasting says that only another commit or spec changes it.
	lasting bool
}

// look asks the repository and takes in what is new. An error without an
// outcome is the hub's own, and says nothing of the source.
func (r *Reconciler) look(ctx context.Context, app *v1alpha1.Application, m *memory, since time.Time) (*outcome, error) {
	o := &outcome{fetched: v1alpha1.FetchedSource{Of: source.Of(app)}}
	if before := app.Status.Source; before != nil && before.Of == o.fetched.Of {
		o.fetched = *before.DeepCopy()
	}
	access, err := r.access(ctx, app)
	if err != nil {
		return o.failed(err)
	}
	refs, err := r.Git.Refs(ctx, access, since)
	if err != nil {
		return o.failed(err)
	}
	if len(refs) == 0 {
		return o.failed(source.Fail(source.SourceEmpty, "%s is empty: it has no branch and no tag", access.Remote))
	}
	chosen, err := refs.Choose(app.Spec.Source.Git.Ref)
	if err != nil {
		return o.failed(source.Fail(source.RefNotFound, "%s: %w", access.Remote, err))
	}
	id, again := "sha1:"+chosen.ID, m.again
	m.again = false
	if refused := o.fetched.Refused; refused != nil && refused.ID == id && !again {
		return o.refused(refused.Reason, refused.Message), nil
	}
	current, err := r.current(ctx, app, m, o.fetched, chosen)
	if err != nil {
		return nil, err
	}
	if current {
		o.fetched.Refused = nil // the branch is back at what was good
		return o.good(access.Remote), nil
	}
	return r.take(ctx, app, m, o, access, chosen)
}

// current says that the commit was taken in, for clusters such as there are now,
// and that its content is still stored.
func (r *Reconciler) current(ctx context.Context, app *v1alpha1.Application, m *memory, f v1alpha1.FetchedSource, chosen source.Chosen) (bool, error) {
	if f.Commit == nil || f.Digest == "" || f.Commit.ID != "sha1:"+chosen.ID || f.Commit.Ref != chosen.Ref {
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
	if holds {
		m.sure = digest
	}
	return holds, err
}

// take fetches, renders and stores a commit.
func (r *Reconciler) take(ctx context.Context, app *v1alpha1.Application, m *memory, o *outcome, access git.Access, chosen source.Chosen) (*outcome, error) {
	folder, err := source.Folder(app.Spec.Source.Git.Path)
	if err != nil {
		return o.failed(source.Refuse(source.SourceRefused, "spec.source.git.path: %w", err))
	}
	snapshot, release, err := r.Git.Fetch(ctx, access, chosen, folder)
	if err != nil {
		return o.refusedAt(chosen, err)
	}
	defer release()
	rendered, err := r.Render.Render(ctx, app, snapshot)
	if err != nil {
		return o.refusedAt(chosen, err)
	}
	kept, err := r.Depot.Keep(ctx, app, rendered.Files)
	var refused *depot.Refused
	switch {
	case errors.As(err, &refused):
		return o.refusedAt(chosen, source.Refuse(refused.Reason(), "%s: %w", place(folder), refused.Err))
	case err != nil:
		return nil, fmt.Errorf("store what application %s/%s fetched: %w", app.Namespace, app.Name, err)
	}
	commit := snapshot.Revision.Commit()
	commit.Chart = source.Line(rendered.Chart)
	commit.Replaces = r.replaced(ctx, access, o.fetched.Commit, commit)
	o.fetched.Commit, o.fetched.Digest, o.fetched.Refused = commit, string(kept.Digest), nil
	o.fetched.Fleet, o.fetched.Renders = rendered.Fleet, int32(rendered.Renders)
	m.sure = kept.Digest
	r.warn(app, rendered.Warnings)
	return o.good(access.Remote), nil
}

// replaced is the commit before, if the branch no longer holds it.
func (r *Reconciler) replaced(ctx context.Context, access git.Access, before, now *v1alpha1.Commit) string {
	if before == nil || before.Ref != now.Ref || before.ID == now.ID || now.Ref == "" {
		return ""
	}
	if _, branch := strings.CutPrefix(now.Ref, "refs/tags/"); branch {
		return "" // versions follow each other in whatever way
	}
	how, err := r.Git.Ancestry(ctx, access, bare(before.ID), bare(now.ID))
	if err != nil || how != git.Rewritten {
		return "" // nobody waits for this knowledge
	}
	return before.ID
}

func bare(id string) string { return strings.TrimPrefix(id, "sha1:") }

func place(folder string) string {
	if folder == "." {
		return "the repository"
	}
	return "folder " + folder
}

// good is an outcome with its newest commit taken in.
func (o *outcome) good(remote source.Remote) *outcome {
	c := o.fetched.Commit
	message := fmt.Sprintf("%s of %s", source.ShortID(c.ID), remote)
	if c.Ref != "" {
		message += " (" + shortRef(c.Ref) + ")"
	}
	if c.Chart != "" {
		message += ", chart " + c.Chart
	}
	if c.Message != "" {
		message += ": " + c.Message
	}
	if c.Replaces != "" {
		message += "; history was rewritten, and no longer holds " + source.ShortID(c.Replaces)
	}
	o.condition = assign.Condition{True: true, Reason: "Fetched", Message: message}
	return o
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
		o.condition.Message += "; commit " + source.ShortID(o.fetched.Commit.ID) + " stays"
	}
	return o, nil
}

// refusedAt records a commit that will fail again, so that it is not fetched
// again.
func (o *outcome) refusedAt(chosen source.Chosen, err error) (*outcome, error) {
	var failure *source.Failure
	if !errors.As(err, &failure) || !failure.Lasting {
		return o.failed(err)
	}
	message := fmt.Sprintf("commit %s: %s", source.ShortID(chosen.ID), failure.Error())
	o.fetched.Refused = &v1alpha1.RefusedCommit{ID: "sha1:" + chosen.ID, Reason: failure.Reason, Message: clip(message)}
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
