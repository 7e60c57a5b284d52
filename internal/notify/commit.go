package notify

import (
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/source"
)

// CommitState is what became of a commit.
type CommitState string

// The states.
const (
	CommitPending CommitState = "pending"
	CommitSuccess CommitState = "success"
	CommitFailure CommitState = "failure"
)

// CommitReport is what a Git host is told of a commit.
type CommitReport struct {
	// URL is the repository's as the application names it, SHA 40 hex digits.
	URL, SHA string
	State    CommitState
	// Context tells it from what others say of the commit.
	Context string
	// Description has at most MaxDescription bytes.
	Description string
}

// MaxDescription is the least that a host allows, GitHub's.
const MaxDescription = 140

const commitScheme = "sha1:"

// commit tells what became of the newest commit, once for each state.
func (s *Seen) commit(app *v1alpha1.Application, live Live) *Event {
	git, fetched := app.Spec.Source.Git, app.Status.Source
	if git == nil || fetched == nil || fetched.Of != source.Of(app) {
		return nil
	}
	r := CommitReport{URL: git.URL, Context: "atoll/" + app.Namespace + "/" + app.Name}
	var id string
	switch {
	case fetched.Refused != nil:
		id, r.State, r.Description = fetched.Refused.ID, CommitFailure, fetched.Refused.Reason+": "+fetched.Refused.Message
	case fetched.Commit != nil:
		id = fetched.Commit.ID
		var sure bool
		if r.State, r.Description, sure = became(app, live); !sure && !s.follows(app, id) {
			return nil
		}
	default:
		return nil
	}
	sha, ok := strings.CutPrefix(id, commitScheme)
	if !ok {
		return nil
	}
	r.SHA, r.Description = sha, clip(source.Line(r.Description), MaxDescription)
	e := &Event{Type: Commit, Report: &r, Latest: lastDecided(app)}
	e.At, e.Key = e.Latest, fmt.Sprintf("%s %s %s", sha, r.State, stamp(e.Latest))
	return s.news(app.UID, "commit", sha+" "+string(r.State), e)
}

// follows tells that another commit was told of before: this one is new, however
// little is known of it.
func (s *Seen) follows(app *v1alpha1.Application, id string) bool {
	was := s.facts[app.UID]["commit"]
	return was != "" && !strings.HasPrefix(was, strings.TrimPrefix(id, commitScheme))
}

// became is the state of the commit that is to be delivered; unless sure, the
// status still speaks of the one before, or of what a hub knew that has ended.
func became(app *v1alpha1.Application, live Live) (state CommitState, why string, sure bool) {
	find := func(kind string) metav1.Condition {
		if c := meta.FindStatusCondition(app.Status.Conditions, kind); c != nil {
			return *c
		}
		return metav1.Condition{}
	}
	accepted, run, ready := find(v1alpha1.ConditionAccepted), find(v1alpha1.ConditionRolledOut), find(v1alpha1.ConditionReady)
	n := live.Members
	switch {
	case !live.Taken || accepted.ObservedGeneration != app.Generation:
		return CommitPending, "the commit is being taken up", false
	case accepted.Status == metav1.ConditionFalse:
		return CommitFailure, accepted.Message, true
	case run.Status == metav1.ConditionFalse:
		switch v1alpha1.RolloutPhase(run.Reason) {
		case v1alpha1.RolloutHalted, v1alpha1.RolloutRollingBack, v1alpha1.RolloutRolledBack:
			return CommitFailure, run.Message, true
		}
		return CommitPending, run.Message, true
	case n.Placed == 0:
		return CommitPending, "no cluster is chosen", true
	case n.Degraded+n.Failed > 0:
		return CommitFailure, fmt.Sprintf("of %d clusters, %d are degraded and %d failed", n.Placed, n.Degraded, n.Failed), true
	case live.Disproved > 0:
		return CommitFailure, fmt.Sprintf("what tries it out has failed on %d of %d clusters", live.Disproved, n.Placed), true
	case n.InSync == n.Placed && n.Healthy == n.Placed && live.Trying > 0:
		return CommitPending, fmt.Sprintf("being tried out on %d of %d clusters", live.Trying, n.Placed), true
	case n.InSync == n.Placed && n.Healthy == n.Placed:
		return CommitSuccess, fmt.Sprintf("in sync and healthy on %d clusters", n.Placed), true
	}
	return CommitPending, fmt.Sprintf("in sync on %d and healthy on %d of %d clusters", n.InSync, n.Healthy, n.Placed), ready.Status != metav1.ConditionTrue
}

// lastDecided is the latest time at which what is said of a commit can have
// become so. What the fleet says is written often, for its age; its conditions
// say when it changed.
func lastDecided(app *v1alpha1.Application) time.Time {
	at := app.CreationTimestamp.Time
	for _, c := range app.Status.Conditions {
		if c.LastTransitionTime.After(at) {
			at = c.LastTransitionTime.Time
		}
	}
	for _, entry := range app.ManagedFields {
		if entry.Subresource == "status" && entry.Manager != fleetManager && entry.Time != nil && entry.Time.After(at) {
			at = entry.Time.Time
		}
	}
	return at
}

// fleetManager is the field manager of what the fleet says.
const fleetManager = "atoll-fleet"
