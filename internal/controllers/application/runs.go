package application

import (
	"context"
	"fmt"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
)

// runsKept is how many runs of an application are kept.
const runsKept = 10

// Runs are the RolloutRuns that this hub wrote or read. A cache may be behind
// this hub's own last write, and a run that is read as it was before would take
// clusters back that were told already.
type Runs struct {
	// Client reads from a cache and writes, Live reads the store.
	Client client.Client
	Live   client.Reader

	loading sync.Mutex
	mu      sync.Mutex
	// latest is by the application's name and UID: the runs of one that is gone
	// may outlive it, and are not those of another of its name.
	latest map[types.NamespacedName]map[types.UID]*v1alpha1.RolloutRun
}

// Load reads the runs of all applications from the store, once.
func (r *Runs) Load(ctx context.Context) error {
	r.loading.Lock()
	defer r.loading.Unlock()
	if r.loaded() {
		return nil
	}
	var all v1alpha1.RolloutRunList
	if err := r.Live.List(ctx, &all); err != nil {
		return fmt.Errorf("list rollouts: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.latest = map[types.NamespacedName]map[types.UID]*v1alpha1.RolloutRun{}
	for i := range all.Items {
		r.keep(&all.Items[i])
	}
	return nil
}

func (r *Runs) loaded() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.latest != nil
}

// Latest is the application's newest run, nil if it has none. It must not be
// altered.
func (r *Runs) Latest(ctx context.Context, app *v1alpha1.Application) (*v1alpha1.RolloutRun, error) {
	if err := r.Load(ctx); err != nil {
		return nil, err
	}
	name := client.ObjectKeyFromObject(app)
	if app.Spec.Rollout == nil && app.Status.Rollout == "" {
		return r.known(name, app.UID), nil // the status may be older than the run
	}
	var cached v1alpha1.RolloutRunList
	if err := r.Client.List(ctx, &cached, client.InNamespace(app.Namespace), client.MatchingLabels{v1alpha1.LabelApplication: app.Name}); err != nil {
		return nil, fmt.Errorf("list the rollouts of application %s/%s: %w", app.Namespace, app.Name, err)
	}
	r.mu.Lock()
	for i := range cached.Items {
		if metav1.IsControlledBy(&cached.Items[i], app) {
			r.keep(&cached.Items[i])
		}
	}
	r.mu.Unlock()
	return r.known(name, app.UID), nil
}

func (r *Runs) known(app types.NamespacedName, uid types.UID) *v1alpha1.RolloutRun {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.latest[app][uid]
}

// keep takes a run in if it is newer than what is known; r.mu is held. One
// without an owner is nobody's.
func (r *Runs) keep(run *v1alpha1.RolloutRun) {
	owner := metav1.GetControllerOf(run)
	if owner == nil {
		return
	}
	name := types.NamespacedName{Namespace: run.Namespace, Name: run.Spec.Plan.Application}
	if r.latest[name] == nil {
		r.latest[name] = map[types.UID]*v1alpha1.RolloutRun{}
	}
	if known := r.latest[name][owner.UID]; known == nil || follows(known, run) {
		r.latest[name][owner.UID] = run
	}
}

// follows tells that b was written after a.
func follows(a, b *v1alpha1.RolloutRun) bool {
	if a.UID != b.UID {
		return b.Spec.Plan.Number > a.Spec.Plan.Number ||
			b.Spec.Plan.Number == a.Spec.Plan.Number && a.CreationTimestamp.Before(&b.CreationTimestamp)
	}
	order, err := resourceversion.CompareResourceVersion(a.ResourceVersion, b.ResourceVersion)
	return err == nil && order < 0
}

// Under tells whether an application's run is not through, so that what its
// clusters say moves it.
func (r *Runs) Under(app types.NamespacedName) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, run := range r.latest[app] {
		if !run.Status.Phase.Final() {
			return true
		}
	}
	return false
}

// Forget drops what is known of an application that is gone.
func (r *Runs) Forget(app types.NamespacedName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.latest, app)
}

// create records a run, and drops the one that is too old to be kept. Where it
// exists already, as after a write whose answer was lost, it is that one; a name
// that a run of a former application of that name still has is passed over.
func (r *Runs) create(ctx context.Context, app *v1alpha1.Application, plan v1alpha1.RolloutPlan) (*v1alpha1.RolloutRun, error) {
	run := newRun(app, plan)
	err := r.Client.Create(ctx, run)
	for apierrors.IsAlreadyExists(err) {
		found := &v1alpha1.RolloutRun{}
		if err = r.Live.Get(ctx, client.ObjectKeyFromObject(run), found); err != nil {
			break
		}
		if run = found; !metav1.IsControlledBy(found, app) {
			plan.Number++
			run = newRun(app, plan)
			err = r.Client.Create(ctx, run)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("record rollout %s/%s: %w", run.Namespace, run.Name, err)
	}
	r.mu.Lock()
	r.keep(run)
	r.mu.Unlock()
	if old := plan.Number - runsKept; old > 0 {
		gone := &v1alpha1.RolloutRun{ObjectMeta: metav1.ObjectMeta{Namespace: app.Namespace, Name: runName(app.Name, old)}}
		if err := r.Client.Delete(ctx, gone); client.IgnoreNotFound(err) != nil {
			return nil, fmt.Errorf("drop rollout %s/%s: %w", gone.Namespace, gone.Name, err)
		}
	}
	return run, nil
}

func newRun(app *v1alpha1.Application, plan v1alpha1.RolloutPlan) *v1alpha1.RolloutRun {
	return &v1alpha1.RolloutRun{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: app.Namespace, Name: runName(app.Name, plan.Number),
			Labels:          map[string]string{v1alpha1.LabelApplication: app.Name},
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(app, v1alpha1.GroupVersion.WithKind("Application"))},
		},
		Spec: v1alpha1.RolloutRunSpec{Plan: plan},
	}
}

// move stores how far a run is. Somebody else's write since it was read is a
// conflict, and the run is looked at again.
func (r *Runs) move(ctx context.Context, run *v1alpha1.RolloutRun, status v1alpha1.RolloutRunStatus) (*v1alpha1.RolloutRun, error) {
	next := run.DeepCopy()
	next.Status = status
	if err := r.Client.Status().Update(ctx, next); err != nil {
		return nil, fmt.Errorf("move rollout %s/%s on: %w", run.Namespace, run.Name, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keep(next)
	return next, nil
}

func runName(app string, number int64) string { return fmt.Sprintf("%s-%d", app, number) }
