// Package application runs the two loops of an Application: intent turns its
// source and placement into what each cluster should run, status turns what
// the clusters say into its conditions and counts. What is decided lies in
// internal/assign, internal/placement and internal/observed.
package application

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/assign"
	"atoll.dev/atoll/internal/depot"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/observed"
	"atoll.dev/atoll/internal/placement"
	"atoll.dev/atoll/internal/report"
	"atoll.dev/atoll/internal/rollout"
)

// Depot is what intent needs of the stored content.
type Depot interface {
	// Admit makes the application's present source durable, or content that can be
	// delivered at once and that Settle makes durable.
	Admit(ctx context.Context, app *v1alpha1.Application, namespace string) (depot.Content, error)
	Settle(ctx context.Context, app *v1alpha1.Application) error
	// Lent is what Settle would do now; nil for nothing.
	Lent(app *v1alpha1.Application) func(context.Context) error
	// Forget drops what is remembered of an application that is gone.
	Forget(key desired.Key)
	// Check returns what the project forbids in the content of an entry; an error
	// is that it cannot be read now.
	Check(ctx context.Context, project *v1alpha1.Project, e desired.Entry) ([]report.Problem, error)
	// Overlaid makes the content durable that comes of one with overrides where
	// those in these places count.
	Overlaid(ctx context.Context, project string, c depot.Content, under desired.Digest, of []int32, recorded desired.Digest) (desired.Digest, error)
}

// Intent fills the Book.
type Intent struct {
	Client client.Client
	Depot  Depot
	Book   *desired.Book
	Fleet  *observed.Fleet
	Events events.EventRecorder
	// Runs are the rollouts under way.
	Runs *Runs
	// Metrics are what gates of rollouts ask for.
	Metrics *Metrics
	// Freeze reads the freeze of everything, nil when there is none.
	Freeze func(context.Context) (*v1alpha1.Freeze, error)
	// Again has an application looked at again.
	Again     func(types.NamespacedName)
	Heartbeat time.Duration
	Now       func() time.Time
	// Began is when this hub began to lead.
	Began  time.Time
	rules  placement.Cache
	beside besides

	// running are the applications that are being looked at.
	running atomic.Int32

	mu sync.Mutex
	// done are applications entered before Begin, waiting those that must be
	// entered before the Book is whole, once Begin has listed them.
	done, waiting map[types.NamespacedName]struct{}
}

// Begin lists the applications that must be entered before anything is sent.
func (r *Intent) Begin(ctx context.Context) error {
	if err := r.Runs.Load(ctx); err != nil {
		return err
	}
	var apps v1alpha1.ApplicationList
	if err := r.Client.List(ctx, &apps); err != nil {
		return fmt.Errorf("list applications: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting = map[types.NamespacedName]struct{}{}
	for i := range apps.Items {
		name := client.ObjectKeyFromObject(&apps.Items[i])
		if _, ok := r.done[name]; !ok {
			r.waiting[name] = struct{}{}
		}
	}
	r.done = nil
	if len(r.waiting) == 0 {
		r.Book.MarkComplete()
	}
	return nil
}

// entered counts an application as entered; the last one completes the Book.
func (r *Intent) entered(name types.NamespacedName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.waiting == nil {
		if r.done == nil {
			r.done = map[types.NamespacedName]struct{}{}
		}
		r.done[name] = struct{}{}
		return
	}
	delete(r.waiting, name)
	if len(r.waiting) == 0 {
		r.Book.MarkComplete()
	}
}

// Waiting are the applications that the Book still lacks, sorted.
func (r *Intent) Waiting() []types.NamespacedName {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.SortedFunc(maps.Keys(r.waiting), func(a, b types.NamespacedName) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
}

// Reconcile computes and enters one application.
func (r *Intent) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	r.running.Add(1)
	defer r.running.Add(-1)
	app := &v1alpha1.Application{}
	if err := r.Client.Get(ctx, req.NamespacedName, app); err != nil {
		if apierrors.IsNotFound(err) {
			r.enter(req.NamespacedName, nil)
			r.beside.mended(req.NamespacedName)
			r.Runs.Forget(req.NamespacedName)
			r.Depot.Forget(desired.Key{Project: req.Namespace, Application: req.Name})
			return ctrl.Result{}, nil
		}
		return ctrl.Result{}, fmt.Errorf("read application %s: %w", req, err)
	}
	course, err := r.plan(ctx, r.beside.ahead(app))
	if err != nil {
		r.enterHeld(app)
		return ctrl.Result{}, err
	}
	plan, again := course.plan, ctrl.Result{RequeueAfter: course.wake}
	// A cluster that is new is recorded before it hears of the application: a
	// hub that dies in between must know later who may have it.
	if widens(plan, app) {
		if err := r.record(ctx, app, course); err != nil {
			r.enterHeld(app)
			return ctrl.Result{}, err
		}
		r.enter(req.NamespacedName, plan.Entries)
		return again, nil
	}
	r.enter(req.NamespacedName, plan.Entries)
	if r.recordBeside(ctx, app, course) {
		return again, nil
	}
	return again, r.record(ctx, app, course)
}

// course is what was decided for an application.
type course struct {
	plan     assign.Plan
	admitted depot.Content
	// run is the rollout by which it travels, wake when to look at it again; early
	// tells that the run is the one before, or none, for this hub is too new to
	// begin one.
	run   *v1alpha1.RolloutRun
	wake  time.Duration
	early bool
	// frozen is the freeze in force, if there is one, and waits that a change waits
	// for its end.
	frozen *rollout.Frozen
	waits  bool
}

func widens(plan assign.Plan, app *v1alpha1.Application) bool {
	return slices.ContainsFunc(plan.Clusters, func(c string) bool { return !slices.Contains(app.Status.Clusters, c) })
}

// remembered is app with what the Book knows beside what is recorded: the cache
// may be behind this hub's own last write.
func (r *Intent) remembered(app *v1alpha1.Application) *v1alpha1.Application {
	key := desired.Key{Project: app.Namespace, Application: app.Name}
	app = app.DeepCopy()
	s := &app.Status
	for _, cluster := range r.Book.Holders(key) {
		if slices.Contains(s.Clusters, cluster) || slices.Contains(s.Withdrawing, cluster) {
			continue
		}
		if e, _, _ := r.Book.Get(cluster, key); e.Withdrawn {
			s.Withdrawing = append(s.Withdrawing, cluster)
		} else {
			s.Clusters = append(s.Clusters, cluster)
		}
	}
	slices.Sort(s.Clusters)
	return app
}

// plan decides, and guards what must not be deleted before it is withdrawn.
func (r *Intent) plan(ctx context.Context, app *v1alpha1.Application) (course, error) {
	var c course
	var unread error
	state, admitted, err := r.gather(ctx, app, &unread)
	if err != nil {
		return c, err
	}
	c.admitted = admitted
	if state.Cycle, err = r.cycle(ctx, app); err != nil {
		return c, err
	}
	if c.frozen, err = r.frozen(ctx, app, state.Project); err != nil {
		return c, err
	}
	if err := r.travel(ctx, app, &state, &c); err != nil {
		return c, err
	}
	switch {
	case c.run != nil:
		state.Version = rollout.NewCourse(c.run).Version
	case c.early:
		state.Version = func(string) *v1alpha1.Version { return nil }
	}
	for _, next := range []time.Duration{rollout.PinsOf(app, r.Now()).Next, c.frozen.Left(r.Now())} {
		if next > 0 && (c.wake == 0 || next < c.wake) {
			c.wake = next
		}
	}
	if next := cycleWake(state.Cycle); next > 0 && (c.wake == 0 || next < c.wake) {
		c.wake = next
	}
	c.plan = assign.Make(state)
	if c.frozen != nil {
		r.keep(app, state, &c)
	}
	if unread != nil {
		return c, unread // without its content nothing is known to be forbidden
	}
	return c, r.guard(ctx, app, c.plan)
}

func (r *Intent) enter(name types.NamespacedName, entries map[string]desired.Entry) {
	r.Book.Set(desired.Key{Project: name.Namespace, Application: name.Name}, entries)
	r.entered(name)
}

// enterHeld asks the recorded clusters to keep what they have, when nothing
// was entered for the application yet: one whose intent cannot be computed
// must not keep the Book, and with it the fleet, waiting.
func (r *Intent) enterHeld(app *v1alpha1.Application) {
	if len(r.Book.Holders(desired.Key{Project: app.Namespace, Application: app.Name})) == 0 {
		r.enter(client.ObjectKeyFromObject(app), assign.HoldAll(app))
	}
}

// released reports whether the agent said that it let go of exactly this entry.
func (r *Intent) released(cluster string, e desired.Entry) bool {
	c := r.Fleet.Get(cluster)
	s, ok := c.Of(e.Key)
	return c.FromTerm && ok && s.Sync == report.Withdrawn && s.Entry == e.Digest()
}

// guard keeps an application with objects to delete until they are gone.
func (r *Intent) guard(ctx context.Context, app *v1alpha1.Application, plan assign.Plan) error {
	// Finalizers are patched as a whole list: it must be the list that was read.
	patch := client.MergeFromWithOptions(app.DeepCopy(), client.MergeFromWithOptimisticLock{})
	var changed bool
	switch {
	case app.DeletionTimestamp == nil && app.Spec.OnDelete == v1alpha1.Delete:
		changed = controllerutil.AddFinalizer(app, v1alpha1.FinalizerWithdraw)
	case app.DeletionTimestamp == nil || plan.Done:
		changed = controllerutil.RemoveFinalizer(app, v1alpha1.FinalizerWithdraw)
	}
	if !changed {
		return nil
	}
	if err := r.Client.Patch(ctx, app, patch); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("guard application %s/%s: %w", app.Namespace, app.Name, err)
	}
	return nil
}
