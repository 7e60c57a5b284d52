package application

import (
	"strings"
	"testing"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/observed"
)

func TestWhatIsNotTriedOutIsNotReady(t *testing.T) {
	failed := []v1alpha1.Exception{{Cluster: "eu", Sync: "InSync", Health: "Healthy", Message: "verification: Failed: Job.batch/smoke in shop"}}
	for name, tc := range map[string]struct {
		well    bool
		summary observed.Summary
		reason  string
		says    string
	}{
		"well, and nothing tries it":   {true, observed.Summary{Counts: v1alpha1.Counts{Placed: 3}}, "Ready", "healthy on 3 clusters"},
		"well, and still being tried":  {true, observed.Summary{Counts: v1alpha1.Counts{Placed: 3}, Trying: 2}, "Verifying", "being tried out on 2"},
		"well, and it has failed once": {true, observed.Summary{Exceptions: failed, Trying: 1, Disproved: 1}, "VerificationFailed", "eu is InSync, Healthy: verification: Failed"},
		"not well":                     {false, observed.Summary{Trying: 1}, "NotReady", "is being taken up"},
	} {
		if reason, message := readiness(tc.well, tc.summary); reason != tc.reason || !strings.Contains(message, tc.says) {
			t.Errorf("%s: %s, %q", name, reason, message)
		}
	}
}
