package application

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/observed"
)

// application is of generation 2; its intent was entered up to the given one,
// and its counts are of the same.
func application(entered int64, made time.Time) *v1alpha1.Application {
	app := &v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "web", Generation: 2, CreationTimestamp: metav1.NewTime(made)}}
	app.Status.ObservedGeneration = entered
	if entered > 0 {
		app.Status.Conditions = withCondition(nil, metav1.Condition{Type: v1alpha1.ConditionAccepted, Status: metav1.ConditionTrue, ObservedGeneration: entered})
	}
	return app
}

func TestAStatusThatIsOvertakenInAMomentIsNotWritten(t *testing.T) {
	began := time.Unix(10_000, 0)
	heard, silent := observed.Member{Cluster: "a", FromTerm: true}, observed.Member{Cluster: "b"}
	for name, c := range map[string]struct {
		app     *v1alpha1.Application
		members []observed.Member
		after   time.Duration
		waits   time.Duration
	}{
		"new, and its intent is not known":              {application(0, began.Add(time.Hour)), nil, time.Hour + time.Second, 4 * time.Second},
		"its intent fails to become known":              {application(0, began), nil, time.Hour, 0},
		"all clusters have spoken":                      {application(2, began), []observed.Member{heard}, time.Second, 0},
		"a cluster may come back to a hub that started": {application(2, began), []observed.Member{heard, silent}, 5 * time.Second, 10 * time.Second},
		"a cluster stays away":                          {application(2, began), []observed.Member{heard, silent}, FirstWord, 0},
		"it was changed while the hub was away":         {application(1, began), []observed.Member{silent}, time.Second, 0},
	} {
		r := &Status{Began: began}
		if got := max(0, r.tooEarly(c.app, c.members, began.Add(c.after))); got != c.waits {
			t.Errorf("%s: waits %s, want %s", name, got, c.waits)
		}
	}
}

func TestCountsAreLookedAtForWhatTheyDependOn(t *testing.T) {
	now := time.Unix(10_000, 0)
	before := application(2, now)
	counted := before.DeepCopy()
	counted.Status.Counts.InSync = 7
	counted.Status.Conditions = withCondition(counted.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue})
	if Concerns(before, counted) {
		t.Error("they are looked at again for their own sake")
	}
	placed := before.DeepCopy()
	placed.Status.Clusters = []string{"a"}
	edited := before.DeepCopy()
	edited.Generation++
	for name, after := range map[string]*v1alpha1.Application{"placed": placed, "edited": edited, "accepted again": application(1, now)} {
		if !Concerns(before, after) {
			t.Errorf("%s, and not looked at", name)
		}
	}
}

func TestWhatIsPlacedComesBeforeWhatIsOnlyTold(t *testing.T) {
	intent := &Intent{}
	status := &Status{Busy: intent.Busy}
	calm := status.price()
	intent.running.Store(IntentWorkers)
	if busy := status.price(); calm != 1 || busy <= calm {
		t.Errorf("a status costs %d in calm, and %d while applications wait to be placed", calm, busy)
	}
}
