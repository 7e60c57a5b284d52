// Package source has the hub follow the sources that applications name:
// it looks at them in time, takes in what is new and records on the Application
// what that was, or why there is nothing. It never takes anything away: what
// was fetched before stays until something newer is good.
//
// What a reference means lies in internal/source, fetching in its packages, one
// for each kind, manifests in internal/render; what becomes of the content is decided where an
// upload's is, by internal/controllers/application.
package source

import (
	"context"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/content"
	"atoll.dev/atoll/internal/depot"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/manifests"
	"atoll.dev/atoll/internal/source"
	"atoll.dev/atoll/internal/valuesfrom"
)

// Opener prepares looks at sources of one kind; held is nil without a Secret.
type Opener interface {
	Open(s v1alpha1.Source, held *source.Secret) (source.Origin, error)
}

// Depot stores what was fetched.
type Depot interface {
	Keep(ctx context.Context, app *v1alpha1.Application, files []content.File, check func(content.Bundle) error) (depot.Content, error)
	Holds(ctx context.Context, project string, digest desired.Digest) (bool, error)
}

// Renderer makes manifests of a folder. A *source.Failure that lasts is for the
// owner of the source. manifests.Renderer is one.
type Renderer interface {
	Render(ctx context.Context, app *v1alpha1.Application, s source.Snapshot, from valuesfrom.Values) (manifests.Manifests, error)
	// Fleet is the Fleet that manifests would have if they were rendered now.
	Fleet(ctx context.Context, app *v1alpha1.Application) (string, error)
}

// Reconciler follows sources.
type Reconciler struct {
	Client client.Client
	// Secrets reads credentials and values, from the API and not from a cache: those
	// of all projects do not belong into memory.
	Secrets client.Reader
	Sources map[source.Kind]Opener
	Render  Renderer
	Depot   Depot
	Events  events.EventRecorder
	Now     func() time.Time
	// Spread makes of a time to wait one that differs by chance, so that those
	// who began together do not go on together.
	Spread func(time.Duration) time.Duration

	// lately are credentials that were just read.
	lately credentials

	mu    sync.Mutex
	known map[types.NamespacedName]*memory
	busy  map[string]int
}

// memory is what this process knows of an application and needs not keep.
type memory struct {
	failures int
	// asked is the spec and the request that were last looked at.
	asked string
	// again has a commit that was refused judged once more.
	again bool
	// unfit is the Fleet for which the refused commit was judged.
	unfit string
	// unfitValues are the versions of the values with which it was.
	unfitValues string
	// sure is the content that was seen to be stored.
	sure desired.Digest
	// verified is the signature that was found good of what, by which keys.
	verified signed
}

type signed struct {
	id, keys string
	by       *v1alpha1.Verified
}

const (
	defaultInterval = time.Minute
	minInterval     = 10 * time.Second
	// shared is how old an answer may be for a change of the spec: many that are
	// applied together are one look.
	shared = 5 * time.Second
	// maxBusy is how many looks one project has at a time, so that servers which
	// never answer take the turns of their own project only.
	maxBusy = 4
)

// Reconcile looks at one application's source if it is time.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	app := &v1alpha1.Application{}
	if err := r.Client.Get(ctx, req.NamespacedName, app); err != nil {
		r.forget(req.NamespacedName)
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if source.Followed(app.Spec.Source) == nil || app.DeletionTimestamp != nil {
		r.forget(req.NamespacedName)
		return ctrl.Result{}, r.clear(ctx, app)
	}
	if err := r.Client.Get(ctx, types.NamespacedName{Name: app.Namespace}, &v1alpha1.Project{}); err != nil {
		// Without a project nobody has a claim to have anything fetched.
		return ctrl.Result{RequeueAfter: r.Spread(defaultInterval)}, client.IgnoreNotFound(err)
	}
	if !r.enter(app.Namespace) {
		return ctrl.Result{RequeueAfter: r.Spread(time.Second)}, nil
	}
	defer r.leave(app.Namespace)
	m, since := r.recall(app)
	next, err := r.look(ctx, app, m, since)
	if ctx.Err() != nil {
		return ctrl.Result{}, ctx.Err()
	}
	if next == nil {
		return ctrl.Result{}, err // of the hub's own, which the queue tries again
	}
	if err := r.record(ctx, app, *next); err != nil {
		return ctrl.Result{}, err
	}
	return ctrl.Result{RequeueAfter: r.wait(app, m, next)}, nil
}

// recall says since when an answer counts: after a change now, else since the
// last look was due.
func (r *Reconciler) recall(app *v1alpha1.Application) (*memory, time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.known == nil {
		r.known = map[types.NamespacedName]*memory{}
	}
	name := client.ObjectKeyFromObject(app)
	m := r.known[name]
	if m == nil {
		m = &memory{}
		r.known[name] = m
	}
	asked := fmt.Sprint(app.Generation, " ", app.Annotations[v1alpha1.AnnotationFetch])
	if asked == m.asked {
		return m, r.Now().Add(-interval(app) * 3 / 4)
	}
	fresh := m.asked == ""
	m.asked, m.failures, m.again = asked, 0, true
	if fresh {
		return m, r.Now().Add(-shared)
	}
	return m, requested(app, r.Now())
}

// requested is when somebody wished for a look: a hook says so to all
// applications of a repository at once, and one answer is enough for them.
func requested(app *v1alpha1.Application, now time.Time) time.Time {
	at, err := time.Parse(time.RFC3339Nano, app.Annotations[v1alpha1.AnnotationFetch])
	if err != nil || at.After(now) || now.Sub(at) > time.Minute {
		return now
	}
	return at
}

func (r *Reconciler) forget(name types.NamespacedName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.known, name)
}

func (r *Reconciler) enter(project string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.busy == nil {
		r.busy = map[string]int{}
	}
	if r.busy[project] >= maxBusy {
		return false
	}
	r.busy[project]++
	return true
}

func (r *Reconciler) leave(project string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.busy[project]--; r.busy[project] == 0 {
		delete(r.busy, project)
	}
}

func interval(app *v1alpha1.Application) time.Duration {
	if i := source.Followed(app.Spec.Source).Interval; i != nil {
		return max(i.Duration, minInterval)
	}
	return defaultInterval
}

// wait is the interval, or after failures less at first and then as long.
func (r *Reconciler) wait(app *v1alpha1.Application, m *memory, next *outcome) time.Duration {
	every := interval(app)
	if next.condition.True || next.lasting {
		m.failures = 0
		return r.Spread(every)
	}
	back := minInterval << min(m.failures, 6)
	m.failures++
	return r.Spread(min(back, max(every, defaultInterval)))
}

// open reads the credentials, as of since or a moment ago. Whoever holds another
// version of the Secret holds another right.
func (r *Reconciler) open(ctx context.Context, app *v1alpha1.Application, follow *source.Follow, since time.Time) (source.Origin, error) {
	var held *source.Secret
	if follow.SecretRef != nil {
		secret, err := r.secret(ctx, types.NamespacedName{Namespace: app.Namespace, Name: follow.SecretRef.Name}, source.CredentialMissing, since)
		if err != nil {
			return nil, err
		}
		held = &secret
	}
	return r.Sources[follow.Kind].Open(app.Spec.Source, held)
}

func (r *Reconciler) secret(ctx context.Context, key types.NamespacedName, missing string, since time.Time) (source.Secret, error) {
	secret, err := r.lately.get(ctx, r.Secrets, key, since, r.Now())
	if err != nil {
		return source.Secret{}, source.Fail(missing, "Secret %s cannot be read: %w", key, permitted(err))
	}
	return source.Secret{Name: key.String(), Holder: fmt.Sprintf("%s %s %s", key, secret.UID, secret.ResourceVersion), Data: secret.Data}, nil
}

// verify fails unless what was found is signed as the application asks for. It
// is asked anew when the keys change: what runs stays, but who took a key
// back hears of it.
func (r *Reconciler) verify(ctx context.Context, app *v1alpha1.Application, m *memory, origin source.Origin, found source.Found) error {
	wanted, before := source.Followed(app.Spec.Source).Verify, m.verified
	m.verified = signed{}
	if wanted == nil {
		return nil
	}
	secret, err := r.secret(ctx, types.NamespacedName{Namespace: app.Namespace, Name: wanted.SecretRef.Name}, source.KeyMissing, r.Now())
	if err != nil {
		return err
	}
	if before.by != nil && before.id == found.ID && before.keys == secret.Holder {
		m.verified = before
		return nil
	}
	by, err := origin.Verify(ctx, found, secret)
	if err != nil {
		return err
	}
	m.verified = signed{id: found.ID, keys: secret.Holder, by: by}
	return nil
}
