package notify

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/notify"
	"atoll.dev/atoll/internal/notify/deliver"
	"atoll.dev/atoll/internal/source"
)

const (
	// maxWaiting is how many events one receiver may leave waiting.
	maxWaiting = 1024
	// firstRetry is doubled with each failure, up to lastRetry.
	firstRetry = time.Second
	lastRetry  = 5 * time.Minute
)

// receiver is one Notification with what waits for it. All but what its worker
// keeps to itself is under the Teller's mu.
type receiver struct {
	project string
	spec    v1alpha1.Notification
	route   notify.Route
	queue   *notify.Queue
	stop    context.CancelFunc
	wake    chan struct{}

	delivered time.Time
	failure   *v1alpha1.NotificationFailure
	// latest is that of the newest event, for which ToldUntil is yet to be written.
	latest time.Time
	dirty  bool

	// sender is the worker's own, prepared for of, with the Secret held.
	sender Sender
	of     v1alpha1.Notification
	held   string
}

// project has those told whom a project names, and no others.
func (t *Teller) project(p *v1alpha1.Project, start func(*receiver)) {
	first := t.look(p.Name)
	if len(p.Spec.Notify) == 0 || p.DeletionTimestamp != nil {
		t.dismiss(p.Name)
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.projects[p.Name]
	if a == nil {
		a = &audience{seen: notify.NewSeen(), receivers: map[string]*receiver{}}
		t.projects[p.Name] = a
	}
	named := map[string]bool{}
	for _, n := range p.Spec.Notify {
		named[n.Name] = true
		since := t.Now()
		switch r := a.receivers[n.Name]; {
		case r == nil:
			for _, s := range p.Status.Notify {
				// Of a name that comes back the record is of who had it before.
				if s.Name == n.Name && first {
					since = s.ToldUntil.Time
				}
			}
		case (r.spec.Webhook != nil) == (n.Webhook != nil):
			t.adjust(r, n)
			continue
		default:
			r.stop() // it is another one of the same name, and what waits is not for it
		}
		r := &receiver{project: p.Name, spec: n, queue: notify.NewQueue(maxWaiting), wake: make(chan struct{}, 1), latest: since, dirty: true}
		t.route(r, since)
		a.receivers[n.Name] = r
		start(r)
	}
	for name, r := range a.receivers {
		if !named[name] {
			r.stop()
			delete(a.receivers, name)
		}
	}
}

// look tells whether this hub sees a project for the first time.
func (t *Teller) look(project string) (first bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	first = !t.known[project]
	t.known[project] = true
	return first
}

func (t *Teller) projectGone(p *v1alpha1.Project) {
	t.dismiss(p.Name)
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.known, p.Name)
}

// adjust takes a changed spec up; what waits is sent by it, and at once.
func (t *Teller) adjust(r *receiver, n v1alpha1.Notification) {
	if reflect.DeepEqual(r.spec, n) {
		return
	}
	r.spec = n
	t.route(r, r.route.Since())
	r.queue.Retry()
	r.rouse()
}

// route leaves a receiver that nobody can tell whom it concerns without any event.
func (t *Teller) route(r *receiver, since time.Time) {
	route, err := notify.NewRoute(r.spec, since)
	if err != nil {
		r.failed(t.Now(), "", fmt.Errorf("spec.notify %s: applications: %w", r.spec.Name, err))
	}
	r.route = route
}

func (t *Teller) dismiss(project string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.projects[project]
	if a == nil {
		return
	}
	for _, r := range a.receivers {
		r.stop()
	}
	delete(t.projects, project)
	for name := range t.taken {
		if name.Namespace == project {
			delete(t.taken, name)
		}
	}
}

func (r *receiver) push(e notify.Event) {
	r.queue.Push(e)
	if e.Latest.After(r.latest) {
		r.latest = e.Latest
	}
	r.dirty = true
	r.rouse()
}

func (r *receiver) rouse() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// serve delivers to one receiver until ctx ends.
func (t *Teller) serve(ctx context.Context, r *receiver) {
	defer func() {
		if r.sender != nil {
			r.sender.Close()
		}
	}()
	for {
		t.mu.Lock()
		e, ok, again := r.queue.Next(t.Now())
		spec := r.spec
		t.mu.Unlock()
		if !ok {
			if !r.sleep(ctx, again, t.Now) {
				return
			}
			continue
		}
		err := t.attempt(ctx, r, spec, e)
		if ctx.Err() != nil {
			return
		}
		t.mu.Lock()
		r.judge(e, err, t.Now(), t.Spread)
		t.mu.Unlock()
	}
}

// sleep waits for an event, or for the time to try again; zero for none.
func (r *receiver) sleep(ctx context.Context, until time.Time, now func() time.Time) bool {
	var again <-chan time.Time
	if !until.IsZero() {
		timer := time.NewTimer(until.Sub(now()))
		defer timer.Stop()
		again = timer.C
	}
	select {
	case <-ctx.Done():
		return false
	case <-r.wake:
	case <-again:
	}
	return true
}

// attempt sends an event once, with the Secret as it is now.
func (t *Teller) attempt(ctx context.Context, r *receiver, n v1alpha1.Notification, e notify.Event) error {
	secret, err := t.secret(ctx, r.project, n)
	if err != nil {
		return &deliver.Failure{Away: true, Err: err}
	}
	held := ""
	if secret != nil {
		held = secret.Holder
	}
	if r.sender == nil || r.held != held || !reflect.DeepEqual(r.of, n) {
		next, err := t.Open(n, secret)
		if err != nil {
			return &deliver.Failure{Away: true, Err: err}
		}
		if r.sender != nil {
			r.sender.Close()
		}
		r.sender, r.of, r.held = next, n, held
	}
	return r.sender.Send(ctx, e)
}

// secret is nil for a receiver without one.
func (t *Teller) secret(ctx context.Context, project string, n v1alpha1.Notification) (*source.Secret, error) {
	var ref v1alpha1.SecretReference
	switch {
	case n.CommitStatus != nil:
		ref = n.CommitStatus.SecretRef
	case n.Webhook != nil && n.Webhook.SecretRef != nil:
		ref = *n.Webhook.SecretRef
	default:
		return nil, nil
	}
	held, key := &corev1.Secret{}, types.NamespacedName{Namespace: project, Name: ref.Name}
	if err := t.Live.Get(ctx, key, held); err != nil {
		return nil, fmt.Errorf("the Secret %s cannot be read: %w", key, err)
	}
	return &source.Secret{Name: key.String(), Holder: fmt.Sprintf("%s %s %s", key, held.UID, held.ResourceVersion), Data: held.Data}, nil
}

// judge makes of an attempt what it says.
func (r *receiver) judge(e notify.Event, err error, now time.Time, spread func(time.Duration) time.Duration) {
	r.dirty = true
	var f *deliver.Failure
	switch {
	case err == nil:
		r.queue.Done(e.Subject, true)
		r.delivered, r.failure = now, nil
		return
	case !errors.As(err, &f):
		f = &deliver.Failure{Err: err}
	}
	r.failed(now, e.Type, f)
	if f.Final {
		r.queue.Done(e.Subject, false)
		return
	}
	r.queue.Failed(e.Subject, now, f.Away, func(failures int) time.Duration {
		return max(f.After, spread(min(firstRetry<<min(failures, 16), lastRetry)))
	})
}

func (r *receiver) failed(now time.Time, event string, err error) {
	r.failure = &v1alpha1.NotificationFailure{At: metav1.NewTime(now.Truncate(time.Second)), Event: event, Message: clip(err.Error())}
	r.dirty = true
}
