package metrics_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/alert"
	"atoll.dev/atoll/internal/certificates"
	"atoll.dev/atoll/internal/metrics"
)

var now = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

func ask(t *testing.T, state alert.State, err error) (int, string) {
	t.Helper()
	answer := httptest.NewRecorder()
	metrics.New(metrics.Options{
		Hub:   metrics.Hub{Version: "v0.1.0", Storage: "embedded", Term: 3},
		State: func(context.Context) (alert.State, error) { return state, err }, Now: func() time.Time { return now },
	}).ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	return answer.Code, answer.Body.String()
}

// fleet is n clusters that were lost, and as many applications that were halted.
func fleet(n int) alert.State {
	s := alert.State{Certificates: []certificates.Certificate{
		{Use: "API", Expires: time.Unix(2000000000, 0), Late: now.Add(time.Hour)},
		{Use: "agent", Cluster: "a", Expires: time.Unix(1900000000, 0), Late: now.Add(time.Hour)},
	}}
	long := metav1.NewTime(now.Add(-time.Hour))
	for i := range n {
		c := v1alpha1.Cluster{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("c%d", i)}, Spec: v1alpha1.ClusterSpec{Accepted: true}}
		c.Status.Identity = &v1alpha1.AgentIdentity{}
		c.Status.Connection = v1alpha1.Connection{State: v1alpha1.Disconnected, Since: &long}
		app := v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("a%d", i), Namespace: "demo"}}
		app.Status.Counts = v1alpha1.Counts{Placed: 2, InSync: 1, Held: 1, Healthy: 1, Unknown: 1, NotReported: 1}
		app.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionRolledOut, Status: metav1.ConditionFalse, Reason: string(v1alpha1.RolloutHalted), LastTransitionTime: long}}
		s.Clusters, s.Applications = append(s.Clusters, c), append(s.Applications, app)
	}
	return s
}

func TestTheFleetIsCountedByStateAndNothingGrowsWithIt(t *testing.T) {
	code, large := ask(t, fleet(40), nil)
	for _, line := range []string{
		`atoll_hub_info{storage="embedded",version="v0.1.0"} 1`,
		`atoll_hub_term 3`,
		`atoll_clusters{connection="Connected"} 0`,
		`atoll_clusters{connection="Disconnected"} 40`,
		`atoll_applications 40`,
		`atoll_application_conditions{status="False",type="RolledOut"} 40`,
		`atoll_application_places_sync{sync="Held"} 40`,
		`atoll_application_places_health{health="Unknown"} 40`,
		`atoll_application_places_not_reported 40`,
		`atoll_rollouts{phase="Halted"} 40`,
		`atoll_alerts{alertname="ClusterDisconnected",severity="critical"} 40`,
		`atoll_alerts{alertname="SourceFailing",severity="warning"} 0`,
		`atoll_certificate_expiry_timestamp_seconds{certificate="API"} 2e+09`,
		`atoll_agent_certificate_expiry_timestamp_seconds 1.9e+09`,
	} {
		if code != http.StatusOK || !strings.Contains(large, "\n"+line+"\n") {
			t.Errorf("%d, and no line %s", code, line)
		}
	}
	_, small := ask(t, fleet(0), nil)
	if a, b := strings.Count(small, "\natoll_"), strings.Count(large, "\natoll_"); a != b {
		t.Errorf("%d series without a cluster, and %d with 40", a, b)
	}
}

// What is not known is no number: a scrape fails, so that alerts on it are not silent.
func TestWhatCannotBeCountedIsAnError(t *testing.T) {
	if code, body := ask(t, alert.State{}, errors.New("no cache")); code != http.StatusInternalServerError || !strings.Contains(body, "no cache") {
		t.Errorf("%d %s", code, body)
	}
}

func TestEveryMetricAndEveryRuleIsDocumented(t *testing.T) {
	reference, err := os.ReadFile("../../docs/REFERENCE.md")
	if err != nil {
		t.Fatal(err)
	}
	_, body := ask(t, fleet(1), nil)
	for _, m := range regexp.MustCompile(`(?m)^# HELP (atoll_\S+)`).FindAllStringSubmatch(body, -1) {
		if !strings.Contains(string(reference), "`"+m[1]+"`") && !strings.Contains(string(reference), "`"+m[1]+"{") {
			t.Errorf("docs/REFERENCE.md says nothing of %s", m[1])
		}
	}
	for _, r := range alert.Rules {
		if !strings.Contains(string(reference), "`"+r.Name+"`") {
			t.Errorf("docs/REFERENCE.md says nothing of %s", r.Name)
		}
	}
}
