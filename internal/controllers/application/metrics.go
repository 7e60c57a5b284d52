package application

import (
	"context"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/rollout"
)

const (
	// askAgain is how old an answer is when it is asked for again, oldAnswer when it
	// counts no more, forgetAnswer when nobody wants it any more.
	askAgain     = 15 * time.Second
	oldAnswer    = 30 * time.Second
	forgetAnswer = 10 * time.Minute
	// asking is how many questions of one project are asked at a time.
	asking = 8
)

// Metrics are the numbers that gates judge. A server is asked beside the loop,
// which is told when it answers: one that is slow holds up nobody else's rollout.
type Metrics struct {
	Ask  func(ctx context.Context, url, query string) (float64, error)
	Tell func(types.NamespacedName)
	Now  func() time.Time

	mu      sync.Mutex
	answers map[question]*answer
	// rooms are by project: the servers of one that do not answer keep nobody else.
	rooms map[string]chan struct{}
}

type question struct {
	app        types.NamespacedName
	url, query string
}

type answer struct {
	metric rollout.Metric
	known  bool
	asked  time.Time // last
	asking bool
}

// Look is the last answer while it counts, and asks again.
func (m *Metrics) Look(app types.NamespacedName, gate *v1alpha1.PrometheusQuery, cluster string) (rollout.Metric, bool) {
	q := question{app, gate.URL, strings.ReplaceAll(gate.Query, "${cluster}", cluster)}
	now := m.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.answers == nil {
		m.answers, m.rooms = map[question]*answer{}, map[string]chan struct{}{}
	}
	for old, a := range m.answers {
		if !a.asking && now.Sub(a.asked) > forgetAnswer {
			delete(m.answers, old)
		}
	}
	a := m.answers[q]
	if a == nil {
		a = &answer{}
		m.answers[q] = a
	}
	if !a.asking && now.Sub(a.asked) >= askAgain {
		if m.rooms[app.Namespace] == nil {
			m.rooms[app.Namespace] = make(chan struct{}, asking)
		}
		a.asking, a.asked = true, now
		go m.ask(q, a, m.rooms[app.Namespace])
	}
	return a.metric, a.known && now.Sub(a.metric.At) < oldAnswer
}

// ask takes as long as the client lets a server take.
func (m *Metrics) ask(q question, a *answer, room chan struct{}) {
	room <- struct{}{}
	at := m.Now()
	value, err := m.Ask(context.Background(), q.url, q.query)
	<-room
	metric := rollout.Metric{Value: value, At: at}
	if err != nil {
		metric.Refused = err.Error()
	}
	m.mu.Lock()
	a.metric, a.known, a.asking = metric, true, false
	m.mu.Unlock()
	m.Tell(q.app)
}

// measure asks for what the gates of the run's present wave judge, of the clusters
// that are well: of the others nothing is to be judged yet.
func (r *Intent) measure(app types.NamespacedName, run *v1alpha1.RolloutRun, members map[string]rollout.Member) {
	plan, at := &run.Spec.Plan, int(run.Status.Wave)
	if at >= len(plan.Waves) || run.Status.Phase.Final() {
		return
	}
	for _, gate := range plan.Waves[at].Gates {
		if gate.Prometheus == nil {
			continue
		}
		for _, name := range plan.Waves[at].Clusters {
			m := members[name]
			if m.Reading == nil || !m.Passed {
				continue
			}
			if metric, known := r.Metrics.Look(app, gate.Prometheus, name); known {
				if m.Reading.Metrics == nil {
					m.Reading.Metrics = map[string]rollout.Metric{}
				}
				m.Reading.Metrics[gate.Name] = metric
			}
		}
	}
}
