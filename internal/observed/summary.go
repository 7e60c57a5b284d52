package observed

import (
	"cmp"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/report"
)

// Member is one placed cluster of an application as the hub sees it.
type Member struct {
	Cluster    string
	Connection v1alpha1.ConnectionState
	// Want is the digest of the entry the cluster should run.
	Want desired.Digest
	// State is the last report; Reported is its age, zero if there is none.
	State    report.State
	Reported time.Time
	// FromTerm tells that the report came in this hub's term and, while a link
	// is open, over that link.
	FromTerm bool
}

// Current reports whether the state speaks of the entry that is wanted now,
// in this hub's term.
func (m Member) Current() bool {
	return m.FromTerm && m.Want != "" && m.State.Entry == m.Want && !m.Reported.IsZero()
}

// Health is the health that may be believed: of another entry, of an earlier
// term or of a cluster that is not connected it is Unknown.
func (m Member) Health() report.Health {
	if !m.Current() || m.Connection != v1alpha1.Connected {
		return report.HealthUnknown
	}
	return m.State.Health
}

// Verdict is what is said by what tries the wanted content out, as far as it may be
// believed; empty when nothing tries it.
func (m Member) Verdict() report.Verdict {
	if v := m.State.Verification; v != nil && m.Current() {
		return v.Verdict
	}
	return ""
}

// Sync is the sync that may be believed: a report about another entry, or
// none, means that the change is still under way.
func (m Member) Sync() report.Sync {
	if m.Reported.IsZero() || m.State.Entry != m.Want {
		return report.Progressing
	}
	return m.State.Sync
}

// Member gathers what is known of key on cluster.
func (f *Fleet) Member(cluster string, key desired.Key, want desired.Digest, now time.Time, heartbeat time.Duration) Member {
	c := f.Get(cluster)
	m := Member{Cluster: cluster, Connection: c.State(now, heartbeat), Want: want}
	if s, ok := c.Of(key); ok {
		m.State, m.Reported = s, c.Reported
		m.FromTerm = c.FromTerm && (c.Confirmed || !c.Connected)
		if c.Confirmed {
			// An unchanged state is confirmed by every heartbeat.
			m.Reported = c.Heard
		}
	}
	return m
}

// MaxExceptions is how many clusters an Application's status names.
const MaxExceptions = 10

// Summary is the fleet part of an Application's status.
type Summary struct {
	Counts     v1alpha1.Counts
	Exceptions []v1alpha1.Exception
	// Disproved counts members on which what tries the content out has failed, Trying
	// those where it is not over.
	Disproved, Trying int32
	// AsOf is the oldest report included; zero when there is none.
	AsOf time.Time
}

// Summarise counts members per axis and names the worst.
func Summarise(members []Member) Summary {
	var s Summary
	s.Counts.Placed = int32(len(members))
	var bad []Member
	for _, m := range members {
		if m.Reported.IsZero() {
			s.Counts.NotReported++
			s.Counts.Unknown++
			bad = append(bad, m)
			continue
		}
		if s.AsOf.IsZero() || m.Reported.Before(s.AsOf) {
			s.AsOf = m.Reported
		}
		Count(&s.Counts, m.Sync(), m.Health())
		switch m.Verdict() {
		case report.VerificationFailed:
			s.Disproved++
		case report.VerificationRunning:
			s.Trying++
		}
		if m.Sync() != report.InSync || m.Health() != report.HealthHealthy || m.Verdict() == report.VerificationFailed {
			bad = append(bad, m)
		}
	}
	slices.SortFunc(bad, func(a, b Member) int {
		return cmp.Or(report.Worse(a.believed(), b.believed()), cmp.Compare(a.Cluster, b.Cluster))
	})
	for _, m := range bad[:min(len(bad), MaxExceptions)] {
		s.Exceptions = append(s.Exceptions, m.exception())
	}
	return s
}

func (m Member) believed() report.State {
	s := m.State
	s.Sync, s.Health = m.Sync(), m.Health()
	return s
}

func (m Member) exception() v1alpha1.Exception {
	e := v1alpha1.Exception{
		Cluster: m.Cluster,
		Sync:    string(m.Sync()),
		Health:  string(m.Health()),
		Message: m.Why(),
	}
	if !m.Reported.IsZero() {
		at := metav1.NewTime(m.Reported)
		e.AsOf = &at
	}
	return e
}

// Why is one sentence on why the member is not well.
func (m Member) Why() string {
	switch {
	case m.Connection == v1alpha1.Pending:
		return "no agent has connected yet"
	case m.Connection == v1alpha1.Disconnected:
		return "the cluster is not connected; it keeps enforcing what it last received"
	case m.Reported.IsZero():
		return "the agent has not reported this application yet"
	case m.Connection == v1alpha1.Connected && !m.FromTerm:
		return "the agent has connected and not reported yet"
	case m.State.Entry != m.Want:
		return "the change is on its way"
	case m.Connection == v1alpha1.Stale:
		return "heartbeats are late"
	default:
		return m.State.Message
	}
}

// Count adds one cluster's two axes.
func Count(c *v1alpha1.Counts, s report.Sync, h report.Health) {
	countSync(c, s)
	countHealth(c, h)
}

func countSync(c *v1alpha1.Counts, s report.Sync) {
	switch s {
	case report.InSync:
		c.InSync++
	case report.Drifted:
		c.Drifted++
	case report.Held:
		c.Held++
	case report.Failed:
		c.Failed++
	default:
		c.Progressing++
	}
}

func countHealth(c *v1alpha1.Counts, h report.Health) {
	switch h {
	case report.HealthHealthy:
		c.Healthy++
	case report.HealthProgressing:
		c.HealthProgressing++
	case report.HealthDegraded:
		c.Degraded++
	default:
		c.Unknown++
	}
}
