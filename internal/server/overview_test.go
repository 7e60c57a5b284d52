package server

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/fleet"
)

// TestWhatIsWrongStandsOnceInTheOverview: a source that was never fetched makes
// two conditions false, for one thing that a person has to do.
func TestWhatIsWrongStandsOnceInTheOverview(t *testing.T) {
	no := func(condition, reason, message string) metav1.Condition {
		return metav1.Condition{Type: condition, Status: metav1.ConditionFalse, Reason: reason, Message: message}
	}
	fetched := no(v1alpha1.ConditionFetched, "Unreachable", "https://git.example.com cannot be reached")
	for name, tt := range map[string]struct {
		conditions []metav1.Condition
		want       int
	}{
		"never fetched":                  {[]metav1.Condition{no(v1alpha1.ConditionAccepted, fetched.Reason, fetched.Message), fetched}, 1},
		"fetched before":                 {[]metav1.Condition{fetched}, 1},
		"refused, and not reached since": {[]metav1.Condition{no(v1alpha1.ConditionAccepted, "SourceRefused", "web.yaml is no manifest"), fetched}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			app := v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "shop"}}
			app.Status.Conditions = tt.conditions
			o := &fleet.Overview{}
			(&server{}).applicationPart(o, []v1alpha1.Application{app})
			if len(o.Failing) != tt.want {
				t.Errorf("%d rows, not %d: %+v", len(o.Failing), tt.want, o.Failing)
			}
		})
	}
}
