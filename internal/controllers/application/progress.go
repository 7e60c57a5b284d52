package application

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"atoll.dev/atoll/api/v1alpha1"
)

// progressEvery is how often a status is written of which all that is new is that
// more clusters have taken a change up: of a hundred clusters each second has
// another count, and each write is milliseconds of work. What is over, and what
// went wrong, is written at once.
const progressEvery = 5 * time.Second

// progress remembers when a status was last written of those under way.
type progress struct {
	mu   sync.Mutex
	last map[types.NamespacedName]time.Time
}

// hold is after how long to look again instead of writing a status now.
func (p *progress) hold(name types.NamespacedName, underWay bool, now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if last, ok := p.last[name]; underWay && ok {
		if wait := last.Add(progressEvery).Sub(now); wait > 0 {
			return wait
		}
	}
	if p.last == nil {
		p.last = map[types.NamespacedName]time.Time{}
	}
	p.last[name] = now
	return 0
}

// over forgets an application that is gone.
func (p *progress) over(name types.NamespacedName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.last, name)
}

// underWay tells that the change is on its way and nothing has happened to it since
// the status of app was written, but that it came further.
func (s fleetStatus) underWay(app *v1alpha1.Application) bool {
	old, next := app.Status.Counts, s.Counts
	for _, n := range []*v1alpha1.Counts{&old, &next} {
		n.InSync, n.Progressing, n.Healthy, n.HealthProgressing, n.Unknown, n.NotReported = 0, 0, 0, 0, 0, 0
	}
	if next != old || s.ObservedGeneration != app.Status.ObservedGeneration || s.Counts.Progressing+s.Counts.HealthProgressing+s.Counts.Unknown == 0 {
		return false
	}
	for _, c := range s.Conditions {
		was := meta.FindStatusCondition(app.Status.Conditions, c.Type)
		if c.Type == v1alpha1.ConditionReady && c.Status == metav1.ConditionTrue || was == nil || was.Status != c.Status || was.Reason != c.Reason {
			return false
		}
	}
	return true
}
