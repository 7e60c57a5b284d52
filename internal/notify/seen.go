package notify

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"atoll.dev/atoll/api/v1alpha1"
)

// Seen is what was last known of each object, from which the next look tells
// what is new. It is used by one goroutine at a time.
type Seen struct {
	facts map[types.UID]map[string]string
	// over are runs of which nothing more will be told.
	over map[types.UID]struct{}
}

// NewSeen has seen nothing.
func NewSeen() *Seen {
	return &Seen{facts: map[types.UID]map[string]string{}, over: map[types.UID]struct{}{}}
}

// Forget drops an object that is gone.
func (s *Seen) Forget(uid types.UID) {
	delete(s.facts, uid)
	delete(s.over, uid)
}

// turn notes what an aspect of an object is now, and tells what it was; "" before
// the first look.
func (s *Seen) turn(uid types.UID, aspect, now string) (was string) {
	known := s.facts[uid]
	if known == nil {
		known = map[string]string{}
		s.facts[uid] = known
	}
	was, known[aspect] = known[aspect], now
	return was
}

// news is e unless the aspect was so before.
func (s *Seen) news(uid types.UID, aspect, now string, e *Event) *Event {
	was := s.turn(uid, aspect, now)
	if was == now {
		return nil
	}
	e.First = was == ""
	return e
}

// Live is what is known of an application beside its status.
type Live struct {
	// Held are the deletions that the clusters among its exceptions withhold, by
	// cluster.
	Held map[string]string
	// Taken tells that what clusters are told follows from the commit that the
	// status names, and Members are its clusters as of now. Of them those that try
	// it out are Trying, and those on which that has failed Disproved.
	Taken             bool
	Members           v1alpha1.Counts
	Trying, Disproved int32
}

// Application tells what became of one since the last look.
func (s *Seen) Application(app *v1alpha1.Application, live Live) []Event {
	if app.DeletionTimestamp != nil {
		return nil
	}
	var out []Event
	for _, e := range []*Event{s.accepted(app), s.health(app), s.heldDeletion(app, live.Held), s.commit(app, live)} {
		if e == nil {
			continue
		}
		e.UID, e.Subject = app.UID, Subject{Project: app.Namespace, Application: app.Name}
		e.Data.Project, e.Data.Application, e.Data.Revision = app.Namespace, app.Name, app.Status.Revision
		e.Data.Message = clip(e.Data.Message, maxMessage)
		if f := app.Status.Source; f != nil && f.Commit != nil {
			e.Data.Commit = f.Commit.ID
		}
		out = append(out, *e)
	}
	return out
}

func (s *Seen) accepted(app *v1alpha1.Application) *Event {
	c := meta.FindStatusCondition(app.Status.Conditions, v1alpha1.ConditionAccepted)
	if c == nil {
		return nil
	}
	e := &Event{Type: Refused, At: c.LastTransitionTime.Time, Data: Data{Reason: c.Reason, Message: c.Message}}
	e.Key = c.Reason + stamp(e.At)
	if c.Status == metav1.ConditionTrue {
		e.Type, e.Key = Accepted, stamp(e.At)
	}
	e.Latest = e.At
	return s.news(app.UID, "accepted", e.Type+e.Key, e)
}

// settling is a state that tells neither way: a change is being taken up.
const settling = "settling"

// health tells of two states, and passes over what lies between them.
func (s *Seen) health(app *v1alpha1.Application) *Event {
	healthy := meta.FindStatusCondition(app.Status.Conditions, v1alpha1.ConditionHealthy)
	if healthy == nil {
		return nil
	}
	var e *Event
	switch n := app.Status.Counts; {
	case n.Degraded+n.Failed > 0:
		e = &Event{Type: Degraded, At: since(app, metav1.ConditionFalse), Latest: lastWrite(app)}
		e.Data.Message = fmt.Sprintf("of %d clusters, %d are degraded and %d could not be brought to what is asked", n.Placed, n.Degraded, n.Failed)
		e.Data.Clusters = worst(app, func(x v1alpha1.Exception) bool { return x.Health == "Degraded" || x.Sync == "Failed" })
	case healthy.Status == metav1.ConditionTrue:
		e = &Event{Type: Healthy, At: healthy.LastTransitionTime.Time, Latest: healthy.LastTransitionTime.Time}
		e.Data.Message = healthy.Message
	default:
		if known := s.facts[app.UID]["health"]; known == "" {
			s.turn(app.UID, "health", settling)
		}
		return nil
	}
	e.Data.Reason, e.Key = healthy.Reason, stamp(e.At)
	return s.news(app.UID, "health", e.Type, e)
}

// worst are the exceptions that match.
func worst(app *v1alpha1.Application, matches func(v1alpha1.Exception) bool) []ClusterState {
	var out []ClusterState
	for _, x := range app.Status.Exceptions {
		if matches(x) && len(out) < MaxNamed {
			out = append(out, ClusterState{Name: x.Cluster, Sync: x.Sync, Health: x.Health, Message: clip(x.Message, maxMessage)})
		}
	}
	return out
}

// since is when the last of its conditions that have a status took it.
func since(app *v1alpha1.Application, status metav1.ConditionStatus) time.Time {
	at := app.CreationTimestamp.Time
	for _, kind := range []string{v1alpha1.ConditionSynced, v1alpha1.ConditionHealthy} {
		if c := meta.FindStatusCondition(app.Status.Conditions, kind); c != nil && c.Status == status && c.LastTransitionTime.After(at) {
			at = c.LastTransitionTime.Time
		}
	}
	return at
}

// heldDeletion tells of deletions that wait for a person, on clusters or, of
// clusters that would leave, in the hub.
func (s *Seen) heldDeletion(app *v1alpha1.Application, held map[string]string) *Event {
	e := &Event{Type: DeletionHeld, Latest: lastWrite(app)}
	e.At = e.Latest
	var parts []string
	for _, x := range app.Status.Exceptions {
		if digest := held[x.Cluster]; digest != "" && len(e.Data.Clusters) < MaxNamed {
			e.Data.Clusters = append(e.Data.Clusters, ClusterState{Name: x.Cluster, Sync: x.Sync, Message: clip(x.Message, maxMessage), HeldDeletion: digest})
			parts = append(parts, x.Cluster+"="+digest)
		}
	}
	e.Data.Reason, e.Data.Message = "DeletionHeld", fmt.Sprintf("deletions wait for a person on %d clusters or more", len(parts))
	if c := meta.FindStatusCondition(app.Status.Conditions, v1alpha1.ConditionPlaced); c != nil && c.Reason == "DeletionHeld" {
		parts, e.At, e.Data.Message = append(parts, c.Message), c.LastTransitionTime.Time, c.Message
	}
	slices.Sort(parts)
	if len(parts) == 0 {
		s.turn(app.UID, "held", "none")
		return nil
	}
	e.Key = strings.Join(parts, "\n")
	return s.news(app.UID, "held", e.Key, e)
}

// lastWrite is when the object's status was last written, which is no sooner
// than anything in it became so.
func lastWrite(o metav1.Object) time.Time {
	last := o.GetCreationTimestamp().Time
	for _, entry := range o.GetManagedFields() {
		if entry.Subresource == "status" && entry.Time != nil && entry.Time.After(last) {
			last = entry.Time.Time
		}
	}
	return last
}

// Cluster tells of a link that was lost or is back. What was never connected,
// and what is only late, is neither.
func (s *Seen) Cluster(c *v1alpha1.Cluster) []Event {
	e := &Event{UID: c.UID, Subject: Subject{Cluster: c.Name}, Data: Data{Cluster: c.Name}}
	switch c.Status.Connection.State {
	case v1alpha1.Connected:
		e.Type, e.Data.Message = Connected, "its agent is connected"
	case v1alpha1.Disconnected:
		e.Type, e.Data.Message = Disconnected, "its agent has no link to the hub; what runs there goes on"
	default:
		return nil
	}
	e.At = cmp.Or(c.Status.Connection.Since, &c.CreationTimestamp).Time
	e.Latest, e.Key = e.At, stamp(e.At)
	if e = s.news(c.UID, "link", e.Type, e); e == nil || c.DeletionTimestamp != nil {
		return nil
	}
	return []Event{*e}
}

func stamp(t time.Time) string { return t.UTC().Format("@" + time.RFC3339) }
