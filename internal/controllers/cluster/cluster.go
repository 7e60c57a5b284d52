// Package cluster keeps each Cluster's status true: its conditions, its link,
// its inventory and the last report, the latter at most every five minutes. It
// writes on change only; what is connected is the gateway's to know.
package cluster

import (
	"context"
	"fmt"
	"hash/fnv"
	"reflect"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/observed"
)

// Reconciler keeps Clusters.
type Reconciler struct {
	Client    client.Client
	Fleet     *observed.Fleet
	Heartbeat time.Duration
	Now       func() time.Time
	// Removed is called when a Cluster no longer exists: its link must end.
	Removed func(name string)
}

// storeEvery is how often a report is written to the hub's store; each cluster
// has its own offset, so that a fleet does not write at once.
const storeEvery = 5 * time.Minute

// Reconcile keeps one Cluster.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	c := &v1alpha1.Cluster{}
	if err := r.Client.Get(ctx, req.NamespacedName, c); err != nil {
		if apierrors.IsNotFound(err) {
			r.Removed(req.Name)
			return ctrl.Result{}, nil
		}
		return ctrl.Result{}, fmt.Errorf("read cluster %s: %w", req.Name, err)
	}
	now := r.Now()
	seen := r.Fleet.Get(c.Name)
	next := c.DeepCopy()
	r.connection(next, seen, now)
	r.inventory(next, seen)
	stored := r.report(next, seen, now)
	conditions(next)
	if !stored && !differs(&c.Status, &next.Status) {
		return ctrl.Result{RequeueAfter: r.wake(next.Status.Connection.State)}, nil
	}
	// The identity is the join endpoint's to write: a patch of what changed
	// here never carries it.
	if err := r.Client.Status().Patch(ctx, next, client.MergeFrom(c)); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	return ctrl.Result{RequeueAfter: r.wake(next.Status.Connection.State)}, nil
}

// wake is when the state may change although nobody speaks.
func (r *Reconciler) wake(state v1alpha1.ConnectionState) time.Duration {
	if state == v1alpha1.Connected {
		return 3 * r.Heartbeat
	}
	return 0
}

func (r *Reconciler) connection(c *v1alpha1.Cluster, seen observed.Cluster, now time.Time) {
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

// report stores the last report when it is due.
func (r *Reconciler) report(c *v1alpha1.Cluster, seen observed.Cluster, now time.Time) bool {
	if !seen.FromTerm {
		return false
	}
	old := c.Status.Report
	due := old == nil || old.ReceivedAt.Time.Add(storeEvery+jitter(c.Name)).Before(now)
	// A link that has just closed leaves its last word.
	last := !seen.Connected && (old == nil || old.ReceivedAt.Time.Before(seen.Reported.Truncate(time.Second)))
	if !due && !last {
		return false
	}
	c.Status.Report = &v1alpha1.StoredReport{
		ReceivedAt: metav1.NewTime(seen.Reported.Truncate(time.Second)),
		Data:       observed.Pack(seen.States),
	}
	return old == nil || !reflect.DeepEqual(old.Data, c.Status.Report.Data) || due
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

func ready(c *v1alpha1.Cluster, joined bool) (ok bool, reason, message string) {
	switch {
	case !joined:
		return false, "NotJoined", "no agent has enrolled yet"
	case !c.Spec.Accepted:
		return false, "NotAccepted", "waits for: atoll accept " + c.Name
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
	a, b := old.DeepCopy(), next.DeepCopy()
	if sameState(a.Connection, b.Connection) {
		b.Connection.LastContact = a.Connection.LastContact
	}
	if a.Facts != nil && b.Facts != nil {
		b.Facts.ObservedAt = a.Facts.ObservedAt
	}
	return !reflect.DeepEqual(a, b)
}

func sameState(a, b v1alpha1.Connection) bool {
	return a.State == b.State && a.LastContact != nil && b.LastContact != nil &&
		b.LastContact.Sub(a.LastContact.Time) < storeEvery
}
