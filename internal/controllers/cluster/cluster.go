// Package cluster keeps each Cluster's status true: its conditions, its link,
// its inventory and the last report, the latter at most every five minutes, or
// ten when it says the same. It writes on change only; what is connected is the
// gateway's to know.
package cluster

import (
	"context"
	"fmt"
	"hash/fnv"
	"reflect"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/observed"
)

// Reconciler keeps Clusters.
type Reconciler struct {
	Client    client.Client
	Fleet     *observed.Fleet
	Heartbeat time.Duration
	Now       func() time.Time
	// Silence ends a while after the hub began to lead: until then the connection
	// of a cluster that has not spoken yet is left as it was stored. A fleet that
	// comes back to its hub would else be written down as lost, and then as found.
	Silence time.Time
	// Removed is called when a Cluster no longer exists: its link must end.
	Removed func(name string)
	// Recheck is called when the Cluster is there and, as it looks, no agent of
	// it may be linked: none has enrolled, for instance since it was made anew,
	// or it is not accepted.
	Recheck func(ctx context.Context, name string)
	// Accept is called with the incarnation that a person lets the agent follow.
	Accept func(name, incarnation string)
	// Wish is called with the agent that an accepted cluster should run, nil for
	// any.
	Wish func(name string, wish *v1alpha1.AgentWish)
	// Turned is called after the connection took another state: heartbeats that
	// fail to come are announced by nobody.
	Turned func(name string)

	mu sync.Mutex
	// stored are the states that were last written, by cluster.
	stored map[string]desired.Digest
}

// storeEvery is how often a report is written to the hub's store, ageEvery how
// often one that says the same, so that its age is known. Each cluster has its
// own offset, so that a fleet does not write at once.
const (
	storeEvery = 5 * time.Minute
	ageEvery   = 2 * storeEvery
)

// Reconcile keeps one Cluster.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	c := &v1alpha1.Cluster{}
	if err := r.Client.Get(ctx, req.NamespacedName, c); err != nil {
		if apierrors.IsNotFound(err) {
			r.Removed(req.Name)
			r.keep(req.Name, "")
			return ctrl.Result{}, nil
		}
		return ctrl.Result{}, fmt.Errorf("read cluster %s: %w", req.Name, err)
	}
	r.link(ctx, c)
	now := r.Now()
	seen := r.Fleet.Get(c.Name)
	next := c.DeepCopy()
	r.connection(next, seen, now)
	r.inventory(next, seen)
	digest := r.Fleet.Digest(c.Name)
	stored := r.report(next, seen, now, r.kept(c.Name) == digest)
	conditions(next)
	again := ctrl.Result{RequeueAfter: r.wake(next.Status.Connection.State)}
	if r.awaited(next, seen, now) {
		again.RequeueAfter = r.Silence.Sub(now)
	}
	if !stored && !differs(&c.Status, &next.Status) {
		return again, nil
	}
	// The identity is the join endpoint's to write: a patch of what changed
	// here never carries it.
	if err := r.Client.Status().Patch(ctx, next, client.MergeFrom(c)); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if stored {
		r.keep(c.Name, digest)
	}
	if next.Status.Connection.State != c.Status.Connection.State {
		r.Turned(c.Name)
	}
	return again, nil
}

// awaited tells that a cluster may still come back to a hub that has just
// begun to lead.
func (r *Reconciler) awaited(c *v1alpha1.Cluster, seen observed.Cluster, now time.Time) bool {
	return now.Before(r.Silence) && seen.Heard.IsZero() && c.Status.Connection.LastContact != nil
}

// link holds the open link, if there is one, against what the Cluster says now.
func (r *Reconciler) link(ctx context.Context, c *v1alpha1.Cluster) {
	if c.Status.Identity == nil || !c.Confirmed() {
		r.Recheck(ctx, c.Name)
		return
	}
	r.Wish(c.Name, c.Spec.Agent)
	if incarnation := c.Annotations[v1alpha1.AnnotationAcceptIncarnation]; incarnation != "" {
		r.Accept(c.Name, incarnation)
	}
}

// wake is when the state may change although nobody speaks, and when to see
// whether the report is due to be stored.
func (r *Reconciler) wake(state v1alpha1.ConnectionState) time.Duration {
	switch state {
	case v1alpha1.Connected:
		return 3 * r.Heartbeat
	case v1alpha1.Stale:
		return r.Heartbeat
	}
	return 0
}

func (r *Reconciler) connection(c *v1alpha1.Cluster, seen observed.Cluster, now time.Time) {
	if r.awaited(c, seen, now) {
		return
	}
	conn := &c.Status.Connection
	state := seen.State(now, r.Heartbeat)
	if state == v1alpha1.Pending && conn.LastContact != nil {
		state = v1alpha1.Disconnected // known from before this hub's start
	}
	if state != conn.State {
		since := metav1.NewTime(now.Truncate(time.Second))
		conn.State, conn.Since = state, &since
	}
	if !seen.Heard.IsZero() {
		heard := metav1.NewTime(seen.Heard.Truncate(time.Second))
		conn.LastContact = &heard
	}
}

func (r *Reconciler) inventory(c *v1alpha1.Cluster, seen observed.Cluster) {
	if seen.Facts != nil {
		c.Status.Facts = seen.Facts.DeepCopy()
	}
}

func (r *Reconciler) kept(name string) desired.Digest {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stored[name]
}

// keep remembers what was stored; "" forgets.
func (r *Reconciler) keep(name string, states desired.Digest) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if states == "" {
		delete(r.stored, name)
		return
	}
	if r.stored == nil {
		r.stored = map[string]desired.Digest{}
	}
	r.stored[name] = states
}

// report stores the last report when it is due; same tells that it says what is
// stored already.
func (r *Reconciler) report(c *v1alpha1.Cluster, seen observed.Cluster, now time.Time, same bool) (stored bool) {
	received := seen.Reported.Truncate(time.Second)
	old := c.Status.Report
	if !seen.FromTerm || old != nil && !old.ReceivedAt.Time.Before(received) {
		return false
	}
	every := storeEvery
	if same {
		every = ageEvery
	}
	due := old == nil || old.ReceivedAt.Time.Add(every+jitter(c.Name)).Before(now)
	if !due && seen.Connected { // a link that has just closed leaves its last word
		return false
	}
	c.Status.Report = &v1alpha1.StoredReport{ReceivedAt: metav1.NewTime(received), Data: observed.Pack(seen.States())}
	return true
}

func jitter(name string) time.Duration {
	h := fnv.New32a()
	h.Write([]byte(name))
	return time.Duration(h.Sum32()%60) * time.Second
}

func conditions(c *v1alpha1.Cluster) {
	set := func(kind string, ok bool, reason, message string) {
		status := metav1.ConditionFalse
		if ok {
			status = metav1.ConditionTrue
		}
		meta.SetStatusCondition(&c.Status.Conditions, metav1.Condition{
			Type: kind, Status: status, Reason: reason, Message: message, ObservedGeneration: c.Generation,
		})
	}
	joined := c.Status.Identity != nil
	if c.Spec.Accepted {
		set(v1alpha1.ConditionAccepted, true, "Accepted", "the hub accepts this cluster")
	} else {
		set(v1alpha1.ConditionAccepted, false, "NotAccepted", "waits for: atoll accept "+c.Name)
	}
	if joined {
		set(v1alpha1.ConditionJoined, true, "Joined", "an agent has enrolled")
	} else {
		set(v1alpha1.ConditionJoined, false, "NotJoined", "no agent has enrolled yet; see: atoll join "+c.Name)
	}
	ok, reason, message := ready(c, joined)
	set(v1alpha1.ConditionReady, ok, reason, message)
}

func unconfirmed(since string) string {
	if since == v1alpha1.UnconfirmedRebuilt {
		return "the hub was rebuilt, and learned of it from its agent"
	}
	return "the hub was restored from a backup of " + since
}

func ready(c *v1alpha1.Cluster, joined bool) (ok bool, reason, message string) {
	switch {
	case !joined:
		return false, "NotJoined", "no agent has enrolled yet"
	case !c.Spec.Accepted:
		return false, "NotAccepted", "waits for: atoll accept " + c.Name
	case !c.Confirmed():
		return false, "Unconfirmed", unconfirmed(c.Annotations[v1alpha1.AnnotationUnconfirmed]) + "; waits for: atoll accept " + c.Name
	}
	conn := c.Status.Connection
	switch conn.State {
	case v1alpha1.Connected:
		return true, "Connected", "the agent is connected"
	case v1alpha1.Stale:
		return false, "Stale", "heartbeats are late"
	case v1alpha1.Pending, "":
		return false, "Pending", "the agent has not connected yet"
	default:
		text := "the agent is not connected; the cluster keeps enforcing what it last received"
		if conn.LastContact != nil {
			text += ", last seen " + conn.LastContact.UTC().Format(time.RFC3339)
		}
		return false, "Disconnected", text
	}
}

// differs ignores a last contact that moved while the link stayed as it was.
func differs(old, next *v1alpha1.ClusterStatus) bool {
	b := *next
	if sameState(old.Connection, b.Connection) {
		b.Connection.LastContact = old.Connection.LastContact
	}
	if old.Facts != nil && b.Facts != nil {
		facts := *b.Facts
		facts.ObservedAt = old.Facts.ObservedAt
		b.Facts = &facts
	}
	return !reflect.DeepEqual(*old, b)
}

func sameState(a, b v1alpha1.Connection) bool {
	return a.State == b.State && a.LastContact != nil && b.LastContact != nil &&
		b.LastContact.Sub(a.LastContact.Time) < ageEvery
}
