// Package depot keeps what projects upload: content in the blob store, secret
// values in encrypted hub Secrets. It parses and splits what comes in, checks
// it against the project, and hands content out to agents with the values
// sealed to them. Content belongs to the project that uploaded it.
package depot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/blob"
	"atoll.dev/atoll/internal/content"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/policy"
	"atoll.dev/atoll/internal/report"
	"atoll.dev/atoll/internal/seal"
	"atoll.dev/atoll/internal/source"
)

// Depot is safe for concurrent use.
type Depot struct {
	kept      Stores
	client    client.Client
	namespace string // of the Secrets with values
	refs      seal.RefKey

	mu     sync.Mutex
	stores map[string]Store
	// admitted remembers the outcome per application source: parsing again at
	// each reconcile would cost more than everything else.
	admitted map[desired.Key]admission
	overlaid map[overlay]overlaid
	// unsaved is what was admitted and is not durable yet, the last one last.
	unsaved map[desired.Key][]unsaved
	// checks remembers policy outcomes; they are pure.
	checks map[checkKey][]report.Problem

	references references
	uploaders  uploaders
}

type admission struct {
	uid     string
	source  v1alpha1.Source
	space   string
	content Content
	err     error
}

// New keeps content in the stores, and values in Secrets of namespace.
func New(in Stores, c client.Client, namespace string, refs seal.RefKey) *Depot {
	return &Depot{
		kept: in, client: c, namespace: namespace, refs: refs,
		stores:   map[string]Store{},
		admitted: map[desired.Key]admission{},
		checks:   map[checkKey][]report.Problem{},
	}
}

// Refused says that a source cannot be admitted until its author changes it.
type Refused struct {
	Err error
	// Why is a reason in one word; empty for SourceRefused.
	Why string
}

func (r *Refused) Error() string { return r.Err.Error() }

// Reason is for a condition.
func (r *Refused) Reason() string { return cmp.Or(r.Why, source.SourceRefused) }

// Unwrap gives the cause.
func (r *Refused) Unwrap() error { return r.Err }

// Content is durable content.
type Content struct {
	// Digest names it, together with the Overrides if there are any; Under is
	// then the digest of what they lie over.
	Digest desired.Digest
	Under  desired.Digest
	// Rendered are what the source was rendered to for classes of clusters, where
	// that is not the same for all; Under is the first one's.
	Rendered []v1alpha1.RenderVariant
	// Overrides make of it what each cluster gets.
	Overrides []v1alpha1.Override
	Objects   int
	Bytes     int64
	Secrets   int
	Origin    string
	// Author is who uploaded it, if somebody did and the hub still knows.
	Author string
	// Commit is what it was rendered from, if the hub fetched it.
	Commit *v1alpha1.Commit
}

// Revision is the record of c for an application.
func (c Content) Revision(app *v1alpha1.Application) *v1alpha1.Revision {
	controller := true
	return &v1alpha1.Revision{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: app.Namespace,
			Name:      desired.RevisionName(app.Name, c.Digest),
			Labels:    map[string]string{v1alpha1.LabelApplication: app.Name},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: v1alpha1.GroupVersion.String(), Kind: "Application", Name: app.Name, UID: app.UID, Controller: &controller,
			}},
		},
		Spec: v1alpha1.RevisionSpec{
			Application: app.Name,
			Digest:      string(c.Digest),
			Content:     string(c.Under),
			Variants:    c.Rendered,
			Overrides:   c.Overrides,
			Objects:     int32(c.Objects),
			Bytes:       c.Bytes,
			Secrets:     int32(c.Secrets),
			Origin:      c.Origin,
			Author:      c.Author,
			Commit:      c.Commit,
		},
	}
}

// Store parses files and makes them durable in the project, unless it may not
// deliver some of them: those are returned and nothing is stored. It is an
// early answer, not the check: that comes with the application, its namespace
// and its bindings.
func (d *Depot) Store(ctx context.Context, project *v1alpha1.Project, files []content.File) (Content, []report.Problem, error) {
	parsed, err := content.Parse(files, content.Options{Ref: d.refs.Ref})
	if err != nil {
		return Content{}, nil, &Refused{Err: err}
	}
	probe := &v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{Name: project.Name, Namespace: project.Name}}
	if forHub(parsed.Bundle) {
		probe.Name, probe.Spec.Placement = "", &v1alpha1.ApplicationPlacement{PlacementRule: v1alpha1.PlacementRule{Hub: true}}
	}
	violations := CheckBundle(project.Name, desired.MemberNamespace(probe, project), desired.BuildPolicy(probe, project), parsed.Bundle, nil)
	if len(violations) > 0 {
		return Content{}, violations, nil
	}
	c, err := d.keep(ctx, project.Name, parsed)
	return c, nil, err
}

// forHub tells that all objects are Atoll's own, which no cluster takes.
func forHub(b content.Bundle) bool {
	return len(b.Objects) > 0 && !slices.ContainsFunc(b.Objects, func(o content.Object) bool { return o.Ref.Group != v1alpha1.GroupVersion.Group })
}

// keep writes the values first: content that is there can always be delivered.
func (d *Depot) keep(ctx context.Context, project string, parsed content.Parsed) (Content, error) {
	data := parsed.Bundle.Encode()
	c := describe(parsed.Bundle, data)
	if err := d.saveValues(ctx, project, c.Digest, parsed.Values); err != nil {
		return Content{}, err
	}
	store, err := d.store(project)
	if err != nil {
		return Content{}, err
	}
	if err := store.Put(ctx, c.Digest, data); err != nil {
		return Content{}, fmt.Errorf("store content of project %s: %w", project, err)
	}
	return c, nil
}

func describe(b content.Bundle, data []byte) Content {
	return Content{Digest: desired.Sum(data), Objects: len(b.Objects), Bytes: int64(len(data)), Secrets: b.Secrets()}
}

// Admit makes the application's present source durable, or content that Settle
// shall make so; a *Refused is the author's to mend.
func (d *Depot) Admit(ctx context.Context, app *v1alpha1.Application, namespace string) (Content, error) {
	key := desired.Key{Project: app.Namespace, Application: app.Name}
	d.mu.Lock()
	a, ok := d.admitted[key]
	d.mu.Unlock()
	if !mayLend(app) { // what was lent before may be what clusters come from
		if err := d.Settle(ctx, app); err != nil {
			return Content{}, err
		}
	}
	if ok && a.uid == string(app.UID) && a.space == namespace && sameSource(a.source, app.Spec.Source) {
		return a.content, a.err
	}
	c, err := d.admit(ctx, app, namespace)
	var refused *Refused
	if err != nil && !errors.As(err, &refused) {
		return Content{}, err
	}
	if source.Followed(app.Spec.Source) != nil || err != nil && app.Spec.Source.Content != nil {
		return c, err // what was fetched, or uploaded, may change; it is cheap to look again
	}
	d.mu.Lock()
	d.admitted[key] = admission{uid: string(app.UID), source: *app.Spec.Source.DeepCopy(), space: namespace, content: c, err: err}
	d.mu.Unlock()
	return c, err
}

func sameSource(a, b v1alpha1.Source) bool {
	if a.Inline != b.Inline || (a.Content == nil) != (b.Content == nil) || (source.Followed(a) == nil) != (source.Followed(b) == nil) {
		return false
	}
	return a.Content == nil || *a.Content == *b.Content
}

func (d *Depot) admit(ctx context.Context, app *v1alpha1.Application, namespace string) (Content, error) {
	if upload := app.Spec.Source.Content; upload != nil {
		b, data, err := d.bundle(ctx, app.Namespace, desired.Digest(upload.Digest))
		if err != nil && !lasting(err) {
			return Content{}, fmt.Errorf("admit application %s/%s: %w", app.Namespace, app.Name, err)
		}
		if err != nil {
			return Content{}, &Refused{Err: fmt.Errorf("content %s is not stored in project %s: upload it with `atoll deploy %s -f …`: %w",
				desired.Digest(upload.Digest).Short(), app.Namespace, app.Name, err)}
		}
		c := describe(b, data)
		c.Origin, c.Author = upload.Origin, d.uploaders.of(app.Namespace, c.Digest)
		return c, nil
	}
	if source.Followed(app.Spec.Source) != nil {
		return d.admitFetched(ctx, app)
	}
	// Inline manifests lie in clear in the hub's store: no Ref, no Secret values.
	parsed, err := content.Parse([]content.File{{Name: "spec.source.inline", Data: []byte(app.Spec.Source.Inline)}}, content.Options{Namespace: namespace})
	if err != nil {
		return Content{}, &Refused{Err: err}
	}
	var c Content
	if mayLend(app) {
		c = d.lend(desired.Key{Project: app.Namespace, Application: app.Name}, parsed)
	} else {
		c, err = d.keep(ctx, app.Namespace, parsed)
	}
	c.Origin = "inline"
	return c, err
}

// Forget drops what is remembered of an application that is gone.
func (d *Depot) Forget(key desired.Key) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.admitted, key)
	delete(d.unsaved, key)
}

// Content is the encoded bundle of that digest in a project.
func (d *Depot) Content(ctx context.Context, project string, digest desired.Digest) ([]byte, error) {
	if data, ok := d.lent(project, digest); ok {
		return data, nil
	}
	store, err := d.store(project)
	if err != nil {
		return nil, err
	}
	return store.Get(ctx, digest)
}

// Bundle is the decoded content.
func (d *Depot) Bundle(ctx context.Context, project string, digest desired.Digest) (content.Bundle, error) {
	b, _, err := d.bundle(ctx, project, digest)
	return b, err
}

func (d *Depot) bundle(ctx context.Context, project string, digest desired.Digest) (content.Bundle, []byte, error) {
	data, err := d.Content(ctx, project, digest)
	if err != nil {
		return content.Bundle{}, nil, err
	}
	b, err := content.Decode(data)
	if err != nil {
		err = fmt.Errorf("%w: %w", errUnreadable, err)
	}
	return b, data, err
}

var errUnreadable = errors.New("not in a form that this hub reads")

// lasting tells what only a new upload mends from what may pass by itself.
func lasting(err error) bool {
	return errors.Is(err, blob.ErrMissing) || errors.Is(err, blob.ErrCorrupt) || errors.Is(err, errUnreadable)
}

func (d *Depot) store(project string) (Store, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s := d.stores[project]; s != nil {
		return s, nil
	}
	s, err := d.kept.Project(project)
	if err != nil {
		return nil, fmt.Errorf("open the content store of project %s: %w", project, err)
	}
	d.stores[project] = s
	return s, nil
}

type checkKey struct {
	content   desired.Digest
	policy    desired.Digest
	project   string
	namespace string
}

// maxChecks bounds what is remembered of policy outcomes.
const maxChecks = 10_000

// Check returns what the project forbids in the content of an entry, as rendered
// with its bindings. An error is that the content cannot be read now.
func (d *Depot) Check(ctx context.Context, project *v1alpha1.Project, e desired.Entry) ([]report.Problem, error) {
	namespace, digest, bindings := e.Namespace, e.Content, e.Bindings
	p := e.Policy
	if p.Hub == nil {
		// Without what the application asks for, so that one answer serves many.
		p = desired.BuildPolicy(&v1alpha1.Application{}, project)
	}
	probe := desired.Entry{Policy: p, Bindings: bindings}
	key := checkKey{content: digest, policy: probe.Digest(), project: project.Name, namespace: namespace}
	d.mu.Lock()
	known, ok := d.checks[key]
	d.mu.Unlock()
	if ok {
		return known, nil
	}
	b, err := d.Bundle(ctx, project.Name, digest)
	if err != nil && !lasting(err) {
		return nil, fmt.Errorf("check content %s of project %s: %w", digest.Short(), project.Name, err)
	}
	if err != nil {
		return []report.Problem{{Reason: "ContentMissing", Message: err.Error()}}, nil
	}
	problems := CheckBundle(project.Name, namespace, p, b, bindings)
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.checks) >= maxChecks {
		clear(d.checks)
	}
	d.checks[key] = problems
	return problems, nil
}

// CheckBundle is the pure part of Check: late binding, then policy.
func CheckBundle(project, namespace string, p desired.Policy, b content.Bundle, bindings map[string]string) []report.Problem {
	hidden := func(string) ([]byte, error) { return []byte("hidden"), nil }
	objs, err := b.Resolve(bindings, hidden)
	if err != nil {
		return []report.Problem{{Object: report.ObjectRef{Kind: "Bundle", Name: "late binding"}, Reason: "Invalid", Message: err.Error()}}
	}
	var problems []report.Problem
	for _, v := range policy.Check(p, project, namespace, objs, policy.HubScope(objs)) {
		if v.Reason == policy.UnknownKind {
			continue // only the member knows its kinds; its agent judges again
		}
		problems = append(problems, report.Problem(v))
	}
	return problems
}
