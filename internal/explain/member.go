package explain

import (
	"cmp"
	"fmt"
	"strings"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/override"
	"atoll.dev/atoll/internal/placement"
	"atoll.dev/atoll/internal/report"
)

// member judges one cluster's part of the chain.
type member struct {
	f Facts
	c Cluster
}

func (m member) links() []Link {
	wanted, delivery := m.desired(), m.delivery()
	return []Link{wanted, delivery, m.apply(delivery), m.health()}
}

func (m member) desired() Link {
	l := Link{Stage: Desired, Outcome: OK}
	switch e := m.c.Entry; {
	case e == nil && m.f.waiting(m.c.Cluster):
		l.Outcome, l.Why = Waiting, "its turn in the rollout is yet to come"
	case e == nil:
		l.Outcome, l.Why = Waiting, "the hub has not worked out what this cluster should run"
	case e.Hold && m.f.Frozen != nil:
		l.Why = "the cluster is asked to keep what it has, because of the freeze"
	case e.Hold:
		l.Outcome, l.Why = Unknown, "the cluster is asked to keep what it has, because an earlier step is broken"
	case e.Withdrawn && e.Policy.OnDelete == v1alpha1.Delete:
		l.Why = "the cluster is asked to delete what the application owns there"
	case e.Withdrawn:
		l.Why = "the cluster is asked to let go of the objects and leave them running"
	default:
		l.Why = fmt.Sprintf("the cluster is asked to run %s in namespace %s%s", e.Revision, e.Namespace, m.f.variant(e))
		if m.f.waiting(m.c.Cluster) {
			l.Why += " until its turn in the rollout"
		}
		l.Why += m.dependencies()
		if r := e.Policy.Retry; r != nil {
			l.Why += "; what cannot be applied is tried again " + r.String()
		}
	}
	return l
}

// dependencies says which of those that it depends on the cluster does not run.
func (m member) dependencies() string {
	if len(m.c.Elsewhere) == 0 {
		return ""
	}
	return "; it does not wait for app/" + strings.Join(m.c.Elsewhere, " and app/") + ", which the cluster is not asked to run"
}

// variant says which overrides make what a cluster is asked to run; nothing of a
// revision without any.
func (f Facts) variant(e *desired.Entry) string {
	if f.Revision == nil || len(f.Revision.Spec.Overrides) == 0 || e.Revision != f.Revision.Name {
		return ""
	}
	for _, v := range f.Application.Status.Variants {
		if desired.Digest(v.Content) == e.Content {
			return ", with " + override.Why(f.Revision.Spec.Overrides, v.Overrides)
		}
	}
	return ""
}

func (m member) delivery() Link {
	l := Link{Stage: Delivery, Outcome: Broken}
	state := m.c.State
	switch {
	case m.f.Decision.Why[m.c.Cluster].Reason == placement.NotFound:
		l.Why = "the cluster was removed from the hub; its workloads stay as they are"
		l.Do = "register it again: atoll join " + m.c.Cluster + ", or take its name out of spec.placement"
	case m.c.Refusal != "":
		l.Why = "the hub turns the agent away: " + m.c.Refusal
		l.Do = "see atoll describe cluster " + m.c.Cluster
	case !m.c.Accepted:
		l.Why, l.Do = "the cluster is not accepted, so its agent gets no certificate", "atoll accept "+m.c.Cluster
	case m.c.Connection == v1alpha1.Pending || !m.c.Joined:
		l.Why, l.Do = "no agent has connected yet", "install the agent; the command is printed by: atoll join "+m.c.Cluster
	case m.c.Connection == v1alpha1.Disconnected:
		l.Why, l.AsOf = m.disconnected(), m.c.Heard
		l.Do = "look at the cluster and its agent there: kubectl -n " + v1alpha1.SystemNamespace + " get pods, logs deploy/atoll-agent"
	case has(state.Problems, "HubOlderThanAgent"):
		l.Why = "the hub was restored or rebuilt and knows less than the agent, which keeps what it has"
		l.Do = "compare with atoll diff " + m.target() + ", then accept this hub's history: atoll accept " + m.c.Cluster + " --incarnation"
	case m.current() && has(state.Problems, "ContentMissing"):
		l.Why, l.Do = problem(state.Problems, "ContentMissing").Message, "store the content again: "+m.f.deploy()
	case m.c.Connection == v1alpha1.Stale:
		l.Outcome, l.Why, l.AsOf = Waiting, "the link is open but heartbeats are late"+m.heard(), m.c.Heard
	case m.c.Entry != nil && state.Entry != m.c.Want && !m.c.Confirmed:
		l.Outcome, l.Why = Waiting, "the change is on its way to the agent"
	default:
		l.Outcome, l.Why, l.AsOf = OK, "connected, and the agent has what it is asked", m.c.Heard
	}
	return l
}

func (m member) disconnected() string {
	return "the cluster is not connected" + m.heard() + "; its agent keeps enforcing what it last received"
}

func (m member) heard() string {
	if m.c.Heard.IsZero() {
		return ", and was not since this hub started"
	}
	return fmt.Sprintf(", last heard %s ago", age(m.f.Now, m.c.Heard))
}

// current reports whether the state speaks of the entry wanted now.
func (m member) current() bool { return m.c.State.Entry == m.c.Want && !m.c.Reported.IsZero() }

func (m member) apply(delivery Link) Link {
	l := Link{Stage: Apply, AsOf: m.c.Reported}
	s := m.c.State
	switch {
	case m.c.Reported.IsZero():
		l.Outcome, l.Why = after(delivery), "the agent has said nothing of this application yet"
		return l
	case delivery.Outcome == Broken:
		l.Outcome = Unknown
		l.Why = fmt.Sprintf("the last report, %s ago, said %s", age(m.f.Now, m.c.Reported), s.Sync)
		return l
	case !m.current():
		l.Outcome, l.Why = after(delivery), "the agent has not reported on the present revision yet"
		return l
	}
	l.Why = fmt.Sprintf("%d of %s applied", s.Applied, count(int(s.Objects), "object"))
	switch s.Sync {
	case report.InSync:
		l.Outcome = OK
		if s.Corrections > 0 {
			l.Why += fmt.Sprintf("; %s by others undone so far", count(int(s.Corrections), "change"))
		}
		if has(s.Problems, report.Kept) {
			l.Why += "; " + problem(s.Problems, report.Kept).Message
		}
	case report.Withdrawn:
		l.Outcome, l.Why = OK, "the agent has let go of it"
	case report.Progressing:
		l.Outcome, l.Why = Waiting, cmp.Or(s.Message, l.Why)
	case report.Drifted:
		l.Outcome, l.Why, l.Do = Broken, m.drift(l.Why), "see it with atoll diff "+m.target()+"; spec.drift.mode: Correct undoes such changes"
	default:
		l.Outcome, l.Why, l.Do = m.refused(l.Why)
	}
	return l
}

func after(earlier Link) Outcome {
	if earlier.Outcome == Broken {
		return Unknown
	}
	return Waiting
}

func (m member) drift(applied string) string {
	changes := m.c.State.Drift
	if len(changes) == 0 {
		return applied + "; " + cmp.Or(m.c.State.Message, "others changed delivered fields")
	}
	last := changes[len(changes)-1]
	what := "deleted"
	if last.Path != "" {
		what = "changed " + last.Path + " of"
	}
	why := fmt.Sprintf("%s; %s %s %s", applied, cmp.Or(last.Manager, "someone"), what, last.Object)
	if last.Paused != "" {
		why += ", and correction is paused there until " + last.Paused
	}
	return why
}

// refused is for Failed and Held: the first problem decides what to do.
func (m member) refused(applied string) (Outcome, string, string) {
	s := m.c.State
	if s.HeldDeletion != "" || has(s.Problems, "DeletionHeld") {
		message := cmp.Or(problem(s.Problems, "DeletionHeld").Message, s.Message)
		return Broken, "a deletion is held: " + message, m.f.remedy("DeletionHeld", m.target())
	}
	for _, p := range s.Problems {
		if p.Reason == "Unhealthy" || p.Reason == report.Kept {
			continue
		}
		why := p.Message
		if p.Object.Kind != "" {
			why = p.Object.String() + ": " + p.Message
		}
		return Broken, fmt.Sprintf("%s; %s: %s", applied, p.Reason, why), m.f.remedy(p.Reason, m.target())
	}
	return Broken, applied + "; " + cmp.Or(s.Message, string(s.Sync)), "see each object with atoll tree " + m.target()
}

func (m member) health() Link {
	l := Link{Stage: Health, Outcome: Unknown, AsOf: m.c.Reported}
	s := m.c.State
	switch {
	case m.c.Reported.IsZero():
		l.Why = "nothing was reported; silence is not health"
		return l
	case m.c.Connection != v1alpha1.Connected:
		l.Why = fmt.Sprintf("the last report, %s ago, said %s; silence is not health", age(m.f.Now, m.c.Reported), s.Health)
		return l
	case !m.current():
		l.Why = "health of another revision says nothing of this one"
		return l
	case !m.c.FromTerm:
		l.Why = "the report is from before this hub started"
		return l
	}
	l.Why = fmt.Sprintf("%d of %s ready", s.Ready, count(int(s.Objects), "object"))
	switch s.Health {
	case report.HealthHealthy:
		l.Outcome = OK
		if s.Assumed > 0 {
			l.Why += fmt.Sprintf(", %d of them assumed: their kinds say nothing of their health", s.Assumed)
		}
		l.verify(s.Verification, m.target())
	case report.HealthProgressing:
		l.Outcome, l.Why = Waiting, m.unhealthy(l.Why)
	case report.HealthDegraded:
		l.Outcome, l.Why, l.Do = Broken, m.unhealthy(l.Why), m.f.remedy("Unhealthy", m.target())
	default:
		l.Why = m.unhealthy(l.Why)
	}
	return l
}

// verify adds what tries the content out to what is said of its health.
func (l *Link) verify(v *report.Verification, target string) {
	if v == nil {
		return
	}
	l.Why += "; verification " + v.String()
	switch v.Verdict {
	case report.VerificationRunning:
		l.Outcome = Waiting
	case report.VerificationFailed:
		l.Outcome, l.Do = Broken, "see its pods with atoll tree "+target+", and deploy what is mended: a content is verified once"
	}
}

func (m member) unhealthy(ready string) string {
	if has(m.c.State.Problems, "Unhealthy") {
		p := problem(m.c.State.Problems, "Unhealthy")
		return fmt.Sprintf("%s; %s: %s", ready, p.Object, p.Message)
	}
	if m.c.State.Message != "" {
		return ready + "; " + m.c.State.Message
	}
	return ready
}

// target completes a command for this application on this cluster.
func (m member) target() string { return m.f.ref() + " -C " + m.c.Cluster + m.f.project() }
