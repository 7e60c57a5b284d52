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

	mu     sync.Mutex
	latest map[types.NamespacedName]*v1alpha1.RolloutRun
}

// Load reads the runs of all applications from the store, once and before the
// first is asked for.
func (r *Runs) Load(ctx context.Context) error {
	var all v1alpha1.RolloutRunList
	if err := r.Live.List(ctx, &all); err != nil {
		return fmt.Errorf("list rollouts: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.latest = map[types.NamespacedName]*v1alpha1.RolloutRun{}
	for i := range all.Items {
		r.keep(&all.Items[i])
	}
	return nil
}

// Latest is the application's newest run, nil if it has none. It must not be
// altered.
func (r *Runs) Latest(ctx context.Context, app *v1alpha1.Application) (*v1alpha1.RolloutRun, error) {
	if app.Spec.Rollout == nil && app.Status.Rollout == "" {
		return nil, nil
	}
	var cached v1alpha1.RolloutRunList
	if err := r.Client.List(ctx, &cached, client.InNamespace(app.Namespace), client.MatchingLabels{v1alpha1.LabelApplication: app.Name}); err != nil {
		return nil, fmt.Errorf("list the rollouts of application %s/%s: %w", app.Namespace, app.Name, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range cached.Items {
		r.keep(&cached.Items[i])
	}
	run := r.latest[client.ObjectKeyFromObject(app)]
	if run == nil || !metav1.IsControlledBy(run, app) { // of an application of that name that is gone
		return nil, nil
	}
	return run, nil
}

// keep takes a run in if it is newer than what is known; r.mu is held.
func (r *Runs) keep(run *v1alpha1.RolloutRun) {
	name := types.NamespacedName{Namespace: run.Namespace, Name: run.Spec.Plan.Application}
	known := r.latest[name]
	if known == nil || r.latest[name].UID != run.UID && known.CreationTimestamp.Before(&run.CreationTimestamp) || follows(known, run) {
		r.latest[name] = run
	}
}

// follows tells that b was written after a.
func follows(a, b *v1alpha1.RolloutRun) bool {
	if a.Name != b.Name || a.UID != b.UID {
		return b.Spec.Plan.Number > a.Spec.Plan.Number
	}
	order, err := resourceversion.CompareResourceVersion(a.ResourceVersion, b.ResourceVersion)
	return err == nil && order < 0
}

// Under tells whether an application's run is not through, so that what its
// clusters say moves it.
func (r *Runs) Under(app types.NamespacedName) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	run := r.latest[app]
	return run != nil && !run.Status.Phase.Final()
}

// Forget drops what is known of an application that is gone.
func (r *Runs) Forget(app types.NamespacedName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.latest, app)
}

// create records a run, and drops the one that is too old to be kept. Where it
// exists already, as after a write whose answer was lost, it is that one.
func (r *Runs) create(ctx context.Context, app *v1alpha1.Application, plan v1alpha1.RolloutPlan) (*v1alpha1.RolloutRun, error) {
	run := &v1alpha1.RolloutRun{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: app.Namespace, Name: runName(app.Name, plan.Number),
			Labels:          map[string]string{v1alpha1.LabelApplication: app.Name},
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(app, v1alpha1.GroupVersion.WithKind("Application"))},
		},
		Spec: v1alpha1.RolloutRunSpec{Plan: plan},
	}
	err := r.Client.Create(ctx, run)
	if apierrors.IsAlreadyExists(err) {
		err = r.Live.Get(ctx, client.ObjectKeyFromObject(run), run)
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
