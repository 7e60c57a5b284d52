package server

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/fleet"
	"atoll.dev/atoll/internal/observed"
	"atoll.dev/atoll/internal/report"
	"atoll.dev/atoll/internal/rollout"
)

// maxRows bounds each section of an Overview: a screen, not a listing.
const maxRows = 200

func (s *server) overview(r *http.Request) (any, error) {
	var clusters v1alpha1.ClusterList
	var apps v1alpha1.ApplicationList
	if err := s.Client.List(r.Context(), &clusters); err != nil {
		return nil, err
	}
	if err := s.Client.List(r.Context(), &apps); err != nil {
		return nil, err
	}
	o := &fleet.Overview{At: s.Now(), Hub: s.Hub}
	s.clusterPart(r.Context(), o, clusters.Items, apps.Items)
	s.applicationPart(o, apps.Items)
	s.orphanPart(o, clusters.Items, apps.Items)
	if err := s.freezePart(r.Context(), o, apps.Items); err != nil {
		return nil, err
	}
	if err := s.alertPart(r.Context(), o); err != nil {
		return nil, err
	}
	o.Frozen, o.Down, o.Held = limit(o.Frozen), limit(o.Down), limit(o.Held)
	o.Failing, o.Decisions = limit(o.Failing), limit(o.Decisions)
	return o, nil
}

func limit[T any](rows []T) []T { return rows[:min(len(rows), maxRows)] }

func (s *server) clusterPart(_ context.Context, o *fleet.Overview, clusters []v1alpha1.Cluster, apps []v1alpha1.Application) {
	affects := map[string][]string{}
	var unconfirmed []string
	for i := range apps {
		for _, c := range apps[i].Status.Clusters {
			affects[c] = append(affects[c], apps[i].Namespace+"/"+apps[i].Name)
		}
	}
	for i := range clusters {
		c := &clusters[i]
		state := s.connection(c)
		o.Clusters.Total++
		switch state {
		case v1alpha1.Connected:
			o.Clusters.Connected++
		case v1alpha1.Stale:
			o.Clusters.Stale++
		case v1alpha1.Disconnected:
			o.Clusters.Disconnected++
		default:
			o.Clusters.Pending++
		}
		if ready := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.ConditionReady); ready != nil && ready.Status == metav1.ConditionTrue && state == v1alpha1.Connected {
			o.Clusters.Ready++
		}
		switch {
		case c.Status.Identity != nil && !c.Spec.Accepted:
			o.Decisions = append(o.Decisions, fleet.Attention{Subject: "cluster/" + c.Name, Cluster: c.Name, Reason: "NotAccepted",
				Message: "an agent has enrolled and waits to be accepted", Do: "atoll accept " + c.Name})
		case c.Spec.Accepted && !c.Confirmed():
			unconfirmed = append(unconfirmed, c.Name)
		case state == v1alpha1.Pending:
			o.Decisions = append(o.Decisions, fleet.Attention{Subject: "cluster/" + c.Name, Cluster: c.Name, Reason: "Pending",
				Message: "registered, and no agent has connected yet", Do: "atoll join " + c.Name + " --owner " + c.Spec.Owner})
		case state != v1alpha1.Connected:
			o.Down = append(o.Down, s.down(c, state, affects[c.Name]))
		}
	}
	o.Decisions = append(o.Decisions, unconfirmedPart(unconfirmed)...)
}

// maxUnconfirmed is how many clusters get a row each: a fleet is one decision.
const maxUnconfirmed = 10

// unconfirmedPart asks for what a hub cannot know that was restored or rebuilt:
// who was removed, or replaced, after its backup or before its loss.
func unconfirmedPart(names []string) []fleet.Attention {
	const why = "enrolled before this hub was restored or rebuilt; remove what was removed since, and confirm the rest"
	if len(names) > maxUnconfirmed {
		return []fleet.Attention{{Subject: fmt.Sprintf("%d clusters", len(names)), Reason: "Unconfirmed",
			Message: why + ", among them " + strings.Join(names[:maxUnconfirmed], ", "), Do: "atoll accept --all"}}
	}
	rows := make([]fleet.Attention, 0, len(names))
	for _, name := range names {
		rows = append(rows, fleet.Attention{Subject: "cluster/" + name, Cluster: name, Reason: "Unconfirmed", Message: why, Do: "atoll accept " + name})
	}
	return rows
}

// connection prefers the store's word when this hub has not heard of the
// cluster since it started.
func (s *server) connection(c *v1alpha1.Cluster) v1alpha1.ConnectionState {
	state := s.Gateway.Connection(c.Name)
	if state == v1alpha1.Pending && c.Status.Connection.LastContact != nil {
		return v1alpha1.Disconnected
	}
	return state
}

func (s *server) down(c *v1alpha1.Cluster, state v1alpha1.ConnectionState, affects []string) fleet.ClusterIssue {
	last := s.Fleet.Get(c.Name).Heard
	if last.IsZero() && c.Status.Connection.LastContact != nil {
		last = c.Status.Connection.LastContact.Time
	}
	message := "the agent is not connected; the cluster keeps enforcing what it last received"
	if state == v1alpha1.Stale {
		message = "the link is open but heartbeats are late"
	}
	return fleet.ClusterIssue{Cluster: c.Name, State: state, LastContact: last, Affects: affects, Message: message,
		Do: "atoll describe cluster " + c.Name}
}

func (s *server) applicationPart(o *fleet.Overview, apps []v1alpha1.Application) {
	for i := range apps {
		app := &apps[i]
		o.Applications.Applications++
		if c := meta.FindStatusCondition(app.Status.Conditions, v1alpha1.ConditionAccepted); c != nil && c.Status == metav1.ConditionFalse {
			o.Failing = append(o.Failing, s.attention(app, "", c.Reason, c.Message, c.LastTransitionTime.Time))
		} else if c := meta.FindStatusCondition(app.Status.Conditions, v1alpha1.ConditionPlaced); c != nil && c.Status == metav1.ConditionFalse && app.DeletionTimestamp == nil {
			a := s.attention(app, "", c.Reason, c.Message, c.LastTransitionTime.Time)
			if c.Reason == v1alpha1.ConditionFrozen {
				// The freeze has a row of its own.
			} else if c.Reason == "DeletionHeld" {
				a.Do = allowDeletion(app)
				o.Held = append(o.Held, a)
			} else {
				o.Failing = append(o.Failing, a)
			}
		}
		s.changePart(o, app)
		for _, cluster := range slices.Concat(app.Status.Clusters, app.Status.Withdrawing) {
			st := s.state(app, cluster)
			count(&o.Applications.Counts, st)
			s.attend(o, app, st)
		}
	}
	byAge := func(a, b fleet.Attention) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Subject, b.Subject))
	}
	slices.SortFunc(o.Held, byAge)
	slices.SortFunc(o.Failing, byAge)
}

// changePart tells of what is newer than what runs: clusters that run well what
// they ran before hide that a change does not come through.
func (s *server) changePart(o *fleet.Overview, app *v1alpha1.Application) {
	accepted := meta.FindStatusCondition(app.Status.Conditions, v1alpha1.ConditionAccepted)
	if c := meta.FindStatusCondition(app.Status.Conditions, v1alpha1.ConditionFetched); c != nil && c.Status == metav1.ConditionFalse && !sameRow(accepted, c) {
		o.Failing = append(o.Failing, s.attention(app, "", c.Reason, c.Message, c.LastTransitionTime.Time))
	}
	c := meta.FindStatusCondition(app.Status.Conditions, v1alpha1.ConditionRolledOut)
	if c == nil || c.Status == metav1.ConditionTrue {
		return
	}
	a := s.attention(app, "", c.Reason, c.Message, c.LastTransitionTime.Time)
	switch v1alpha1.RolloutPhase(c.Reason) {
	case v1alpha1.RolloutHalted, v1alpha1.RolloutRolledBack:
		o.Failing = append(o.Failing, a)
	case v1alpha1.RolloutWaiting:
		if windows, err := rollout.CompileWindows(app.Spec.Rollout); err == nil && !windows.Open(s.Now()) {
			return // nobody needs to decide anything
		}
		a.Do = fmt.Sprintf("atoll rollout promote app/%s -p %s", app.Name, app.Namespace)
		o.Decisions = append(o.Decisions, a)
	case v1alpha1.RolloutPaused:
		o.Decisions = append(o.Decisions, a)
	}
}

// sameRow tells that what was never fetched is in the overview already, as what
// was never accepted.
func sameRow(accepted, fetched *metav1.Condition) bool {
	return accepted != nil && accepted.Status == metav1.ConditionFalse && accepted.Reason == fetched.Reason && accepted.Message == fetched.Message
}

func count(c *v1alpha1.Counts, st fleet.ClusterState) {
	c.Placed++
	if st.AsOf.IsZero() {
		c.NotReported++
		c.Unknown++
		return
	}
	observed.Count(c, st.State.Sync, st.State.Health)
}

// attend adds what a person should see. A cluster that is down is one row in
// its own section, not one for each application on it.
func (s *server) attend(o *fleet.Overview, app *v1alpha1.Application, st fleet.ClusterState) {
	if st.Connection != v1alpha1.Connected {
		return
	}
	since := time.Time{}
	if st.State.Since > 0 {
		since = time.UnixMilli(st.State.Since)
	}
	a := s.attention(app, st.Cluster, reasonOf(st.State), st.State.Message, since)
	switch {
	case st.State.HeldDeletion != "":
		a.Do = allowDeletion(app)
		o.Held = append(o.Held, a)
	case st.State.Sync == report.Held:
		o.Held = append(o.Held, a)
	case st.State.Sync == report.Failed, st.State.Sync == report.Drifted, st.State.Health == report.HealthDegraded:
		o.Failing = append(o.Failing, a)
	}
}

func allowDeletion(app *v1alpha1.Application) string {
	return fmt.Sprintf("atoll allow-deletion app/%s -p %s", app.Name, app.Namespace)
}

func (s *server) attention(app *v1alpha1.Application, cluster, reason, message string, since time.Time) fleet.Attention {
	do := fmt.Sprintf("atoll explain app/%s -p %s", app.Name, app.Namespace)
	if cluster != "" {
		do += " -C " + cluster
	}
	return fleet.Attention{Subject: app.Namespace + "/" + app.Name, Cluster: cluster, Reason: reason, Message: message, Since: since, Do: do}
}

func reasonOf(st report.State) string {
	for _, p := range st.Problems {
		if p.Reason != report.Kept {
			return p.Reason
		}
	}
	if st.Health == report.HealthDegraded {
		return string(st.Health)
	}
	return string(st.Sync)
}

// orphanPart shows what agents hold that this hub does not know: after a
// restore or rebuild that is where the missing applications are.
func (s *server) orphanPart(o *fleet.Overview, clusters []v1alpha1.Cluster, apps []v1alpha1.Application) {
	known := map[desired.Key]bool{}
	for i := range apps {
		known[keyOf(&apps[i])] = true
	}
	for i := range clusters {
		name := clusters[i].Name
		for k, st := range s.Fleet.Get(name).States() {
			if st.Sync == report.Held && !known[k] {
				o.Decisions = append(o.Decisions, fleet.Attention{Subject: k.String(), Cluster: name, Reason: reasonOf(st), Message: st.Message,
					Do: "atoll recover"})
			}
		}
	}
}
