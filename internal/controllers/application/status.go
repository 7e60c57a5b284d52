package application

import (
	"context"
	"fmt"
	"reflect"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/observed"
)

// Status writes what the fleet says of an application, on change only. The
// caller limits how often one application is looked at.
type Status struct {
	Client    client.Client
	Book      *desired.Book
	Fleet     *observed.Fleet
	Heartbeat time.Duration
	Now       func() time.Time
	// Writes bounds the writes of all applications together; while the intent loop
	// is Busy, to a fifth.
	Writes *rate.Limiter
	Busy   func() bool
	// Began is when this hub began to lead.
	Began time.Time

	progress progress
}

// fleetStatus is the part of the status that this loop owns. The generation
// belongs to it, for it comes last: who sees it current may believe the counts.
type fleetStatus struct {
	ObservedGeneration int64                `json:"observedGeneration,omitempty"`
	Counts             v1alpha1.Counts      `json:"counts"`
	Exceptions         []v1alpha1.Exception `json:"exceptions,omitempty"`
	AsOf               *metav1.Time         `json:"asOf,omitempty"`
	Conditions         []metav1.Condition   `json:"conditions,omitempty"`
}

// Reconcile summarises one application.
func (r *Status) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	app := &v1alpha1.Application{}
	if err := r.Client.Get(ctx, req.NamespacedName, app); err != nil {
		r.progress.over(req.NamespacedName)
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	select {
	case <-r.Book.Complete():
	default:
		// What clusters should run is not known yet; the stored status is truer.
		return ctrl.Result{RequeueAfter: time.Second}, nil
	}
	next, early := r.look(app)
	switch {
	case early > 0:
		return ctrl.Result{RequeueAfter: early}, nil
	case !next.differs(app):
		return next.again(), nil
	}
	if wait := r.progress.hold(req.NamespacedName, next.underWay(app), r.Now()); wait > 0 {
		return ctrl.Result{RequeueAfter: wait}, nil
	}
	if err := r.Writes.WaitN(ctx, r.price()); err != nil {
		return ctrl.Result{}, fmt.Errorf("wait to write the status of %s: %w", req, err)
	}
	next, _ = r.look(app) // with what was said meanwhile
	return next.again(), applyStatus(ctx, r.Client, app, "atoll-fleet", &next)
}

// look is what the fleet says now; early is after how long to look again
// instead of writing it.
func (r *Status) look(app *v1alpha1.Application) (next fleetStatus, early time.Duration) {
	now := r.Now()
	members := Members(app, r.Book, r.Fleet, now, r.Heartbeat)
	return r.next(app, observed.Summarise(members)), r.tooEarly(app, members, now)
}

// again is when to look although nobody tells anything: everything may stay
// well, and its age is refreshed all the same.
func (s fleetStatus) again() ctrl.Result {
	if s.AsOf == nil {
		return ctrl.Result{}
	}
	return ctrl.Result{RequeueAfter: asOfStep + time.Second}
}

// Members are the placed clusters of an application as of now.
func Members(app *v1alpha1.Application, book *desired.Book, fleet *observed.Fleet, now time.Time, heartbeat time.Duration) []observed.Member {
	key := desired.Key{Project: app.Namespace, Application: app.Name}
	members := make([]observed.Member, 0, len(app.Status.Clusters))
	for _, cluster := range app.Status.Clusters {
		_, digest, _ := book.Get(cluster, key)
		members = append(members, fleet.Member(cluster, key, digest, now, heartbeat))
	}
	return members
}

func (r *Status) next(app *v1alpha1.Application, s observed.Summary) fleetStatus {
	next := fleetStatus{ObservedGeneration: entered(app), Counts: s.Counts, Exceptions: s.Exceptions}
	if !s.AsOf.IsZero() {
		t := metav1.NewTime(s.AsOf.Truncate(time.Second))
		next.AsOf = &t
	}
	for _, kind := range []string{v1alpha1.ConditionSynced, v1alpha1.ConditionHealthy, v1alpha1.ConditionReady} {
		if c := meta.FindStatusCondition(app.Status.Conditions, kind); c != nil {
			next.Conditions = append(next.Conditions, *c)
		}
	}
	for _, c := range conditions(app, s) {
		next.Conditions = withCondition(next.Conditions, c)
	}
	return next
}

// entered is the generation that the intent loop has put into the Book: it
// says so on the Accepted condition, and after it has entered it.
func entered(app *v1alpha1.Application) int64 {
	if c := meta.FindStatusCondition(app.Status.Conditions, v1alpha1.ConditionAccepted); c != nil {
		return c.ObservedGeneration
	}
	return 0
}

func conditions(app *v1alpha1.Application, s observed.Summary) []metav1.Condition {
	placed := s.Counts.Placed
	if placed == 0 {
		reason, message := "NotPlaced", "no cluster is chosen"
		if c := meta.FindStatusCondition(app.Status.Conditions, v1alpha1.ConditionPlaced); c != nil && c.Status == metav1.ConditionFalse {
			message = c.Message
		}
		return []metav1.Condition{
			condition(app, v1alpha1.ConditionSynced, false, reason, message),
			condition(app, v1alpha1.ConditionHealthy, false, reason, message),
			condition(app, v1alpha1.ConditionReady, false, reason, message),
		}
	}
	run := meta.FindStatusCondition(app.Status.Conditions, v1alpha1.ConditionRolledOut)
	travels := run != nil && run.Status == metav1.ConditionFalse
	// While it travels, clusters are in sync with the revision before.
	current := entered(app) == app.Generation && !travels
	synced := current && s.Counts.InSync == placed
	healthy := current && s.Counts.Healthy == placed
	accepted := meta.FindStatusCondition(app.Status.Conditions, v1alpha1.ConditionAccepted)
	reason, message := readiness(synced && healthy, s)
	ready := condition(app, v1alpha1.ConditionReady, reason == "Ready", reason, message)
	if accepted != nil && accepted.Status == metav1.ConditionFalse {
		ready = condition(app, v1alpha1.ConditionReady, false, accepted.Reason, accepted.Message)
	} else if travels {
		ready = condition(app, v1alpha1.ConditionReady, false, run.Reason, run.Message)
	}
	return []metav1.Condition{
		condition(app, v1alpha1.ConditionSynced, synced, pick(synced, "InSync", "NotInSync"),
			fmt.Sprintf("%d of %d clusters are in sync", s.Counts.InSync, placed)),
		condition(app, v1alpha1.ConditionHealthy, healthy, pick(healthy, "Healthy", "NotHealthy"),
			fmt.Sprintf("%d of %d clusters are healthy", s.Counts.Healthy, placed)),
		ready,
	}
}

// readiness is the reason of Ready: of what is well everywhere, what tries it out
// must be over too.
func readiness(well bool, s observed.Summary) (reason, message string) {
	switch {
	case !well:
		return "NotReady", worst(s)
	case s.Disproved > 0:
		return "VerificationFailed", worst(s)
	case s.Trying > 0:
		return "Verifying", fmt.Sprintf("in sync and healthy on %d clusters, and being tried out on %d", s.Counts.Placed, s.Trying)
	}
	return "Ready", fmt.Sprintf("in sync and healthy on %d clusters", s.Counts.Placed)
}

func worst(s observed.Summary) string {
	if len(s.Exceptions) == 0 {
		return "the change is being taken up"
	}
	e := s.Exceptions[0]
	text := fmt.Sprintf("%s is %s, %s", e.Cluster, e.Sync, e.Health)
	if e.Message != "" {
		text += ": " + e.Message
	}
	return text
}

func pick(ok bool, yes, no string) string {
	if ok {
		return yes
	}
	return no
}

// asOfStep is how far a status' age may lag when nothing else changed.
const asOfStep = 5 * time.Minute

// differs ignores ages that moved only a little: they would make every
// heartbeat a write.
func (s fleetStatus) differs(app *v1alpha1.Application) bool {
	old := fleetStatus{Counts: app.Status.Counts, Exceptions: app.Status.Exceptions, AsOf: app.Status.AsOf}
	if (s.AsOf == nil) != (old.AsOf == nil) || s.AsOf != nil && s.AsOf.Sub(old.AsOf.Time).Abs() > asOfStep {
		return true
	}
	for _, c := range s.Conditions {
		o := meta.FindStatusCondition(app.Status.Conditions, c.Type)
		if o == nil || !reflect.DeepEqual(*o, c) {
			return true
		}
	}
	return s.ObservedGeneration != app.Status.ObservedGeneration || s.Counts != old.Counts || !sameExceptions(s.Exceptions, old.Exceptions)
}

func sameExceptions(a, b []v1alpha1.Exception) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		x, y := a[i], b[i]
		x.AsOf, y.AsOf = nil, nil
		if x != y {
			return false
		}
	}
	return true
}
