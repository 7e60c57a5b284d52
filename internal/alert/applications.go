package alert

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/observed"
	"atoll.dev/atoll/internal/report"
	"atoll.dev/atoll/internal/rollout"
)

func (e *evaluation) application(app *v1alpha1.Application, members func(*v1alpha1.Application) []observed.Member) {
	if app.DeletionTimestamp == nil {
		e.intent(app)
		e.rollout(app)
	}
	e.placed(app)
	if members != nil && unwell(app) {
		e.members(app, members(app))
	}
}

// about is an alert of an application.
func about(app *v1alpha1.Application, since time.Time, summary string) Alert {
	return Alert{
		Labels:  map[string]string{LabelProject: app.Namespace, LabelApplication: app.Name},
		Summary: app.Namespace + "/" + app.Name + ": " + summary,
		Do:      fmt.Sprintf("atoll explain app/%s -p %s", app.Name, app.Namespace),
		Since:   since,
	}
}

// no is a condition that is False.
func no(app *v1alpha1.Application, kind string) *metav1.Condition {
	if c := meta.FindStatusCondition(app.Status.Conditions, kind); c != nil && c.Status == metav1.ConditionFalse {
		return c
	}
	return nil
}

// intent is what is wrong before any cluster is told.
func (e *evaluation) intent(app *v1alpha1.Application) {
	refused, fetched := no(app, v1alpha1.ConditionAccepted), no(app, v1alpha1.ConditionFetched)
	switch {
	case fetched != nil: // also the cause, where nothing was ever fetched
		e.fire(SourceFailing, about(app, fetched.LastTransitionTime.Time, fetched.Message))
	case refused != nil:
		e.fire(ApplicationRefused, about(app, refused.LastTransitionTime.Time, refused.Message))
	}
}

func (e *evaluation) placed(app *v1alpha1.Application) {
	c := no(app, v1alpha1.ConditionPlaced)
	switch {
	case c == nil:
	case c.Reason == DeletionHeld: // the condition's reason and the rule have one name
		a := about(app, c.LastTransitionTime.Time, c.Message)
		a.Do = allowDeletion(app)
		e.fire(DeletionHeld, a)
	case c.Reason == v1alpha1.ConditionFrozen || app.DeletionTimestamp != nil:
	default:
		e.fire(ApplicationUnplaced, about(app, c.LastTransitionTime.Time, c.Message))
	}
}

func allowDeletion(app *v1alpha1.Application) string {
	return fmt.Sprintf("atoll allow-deletion app/%s -p %s", app.Name, app.Namespace)
}

func (e *evaluation) rollout(app *v1alpha1.Application) {
	c := no(app, v1alpha1.ConditionRolledOut)
	if c == nil {
		return
	}
	a := about(app, c.LastTransitionTime.Time, c.Message)
	switch v1alpha1.RolloutPhase(c.Reason) {
	case v1alpha1.RolloutHalted:
		e.fire(RolloutHalted, a)
	case v1alpha1.RolloutRolledBack:
		e.fire(RolloutRolledBack, a)
	case v1alpha1.RolloutPaused:
		e.fire(RolloutPaused, a)
	case v1alpha1.RolloutWaiting:
		if windows, err := rollout.CompileWindows(app.Spec.Rollout); err == nil && !windows.Open(e.now) {
			return // it waits for time, and nobody needs to decide anything
		}
		a.Do = fmt.Sprintf("atoll rollout promote app/%s -p %s", app.Name, app.Namespace)
		e.fire(RolloutWaiting, a)
	}
}

// unwell tells that a cluster is worth asking.
func unwell(app *v1alpha1.Application) bool {
	n := app.Status.Counts
	return n.InSync < n.Placed || n.Healthy < n.Placed
}

// members fires what clusters say, one alert for each way to be unwell. What one
// said that is away now has not come right by that; its silence is an alert of its
// own, and not one for each of its applications.
func (e *evaluation) members(app *v1alpha1.Application, all []observed.Member) {
	ways := map[string]*way{}
	for _, m := range all {
		since := turned(app.Status.Conditions, v1alpha1.ConditionReady, app.CreationTimestamp.Time)
		if at := time.UnixMilli(m.State.Since); said(m) && m.State.Since > 0 && !at.After(e.now) {
			since = at // by the agent's clock, which may be ahead
		}
		for _, rule := range waysOf(m) {
			if !e.lasted(rule, since) {
				continue
			}
			if ways[rule] == nil {
				ways[rule] = &way{since: since, first: m}
			}
			ways[rule].add(m, since)
		}
	}
	for _, r := range Rules {
		w := ways[r.Name]
		if w == nil {
			continue
		}
		a := about(app, w.since, fmt.Sprintf("%s on %s: %s", verb[r.Name], some(w.named, w.count), why(w.first)))
		a.Count, a.Named = w.count, w.named
		if r.Name == DeletionHeld {
			a.Do = allowDeletion(app)
		}
		e.fire(r.Name, a)
	}
}

// said tells that the last report speaks of what the cluster should run now.
func said(m observed.Member) bool {
	return !m.Reported.IsZero() && m.Want != "" && m.State.Entry == m.Want
}

// waysOf are the rules that hold of a cluster. What a connected one does not say is
// not well either.
func waysOf(m observed.Member) []string {
	connected := m.Connection == v1alpha1.Connected
	var rules []string
	if said(m) {
		switch {
		case m.State.HeldDeletion != "":
			rules = append(rules, DeletionHeld)
		case m.State.Sync == report.Held:
			rules = append(rules, ApplicationHeld)
		case m.State.Sync == report.Failed:
			rules = append(rules, ApplicationFailed)
		case m.State.Sync == report.Drifted:
			rules = append(rules, ApplicationDrifted)
		}
		if m.State.Health == report.HealthDegraded {
			rules = append(rules, ApplicationDegraded)
		}
	}
	if connected && len(rules) == 0 && (m.Sync() != report.InSync || m.Health() != report.HealthHealthy) {
		rules = append(rules, ApplicationNotConverging)
	}
	return rules
}

// why is what the cluster said, with whether it still says so.
func why(m observed.Member) string {
	if m.Connection != v1alpha1.Connected && m.State.Message != "" {
		return m.State.Message + " (as it was when the cluster was heard last)"
	}
	return m.Why()
}

// verb is what an application is on clusters.
var verb = map[string]string{
	DeletionHeld: "deletions are held", ApplicationHeld: "held", ApplicationFailed: "not applied", ApplicationDrifted: "changed by others",
	ApplicationDegraded: "does not work", ApplicationNotConverging: "not in sync and healthy",
}

// way is one way to be unwell, with the clusters that are.
type way struct {
	count int
	named []string
	since time.Time
	first observed.Member
}

func (w *way) add(m observed.Member, since time.Time) {
	w.count++
	if len(w.named) < MaxNamed {
		w.named = append(w.named, m.Cluster)
	}
	if since.Before(w.since) {
		w.since = since
	}
}
