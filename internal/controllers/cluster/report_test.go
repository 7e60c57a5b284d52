package cluster

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/observed"
)

// What is written for each of ten thousand clusters is what an idle hub does.
func TestAReportIsStoredWhenItSaysSomethingNewOrIsOld(t *testing.T) {
	now := time.Unix(100_000, 0)
	ago := func(d time.Duration) *v1alpha1.StoredReport {
		return &v1alpha1.StoredReport{ReceivedAt: metav1.NewTime(now.Add(-d))}
	}
	linked := observed.Cluster{FromTerm: true, Connected: true, Reported: now}
	closed := observed.Cluster{FromTerm: true, Reported: now}
	for name, c := range map[string]struct {
		stored *v1alpha1.StoredReport
		seen   observed.Cluster
		same   bool
		want   bool
	}{
		"the first":                        {nil, linked, false, true},
		"new, a moment after the last":     {ago(time.Minute), linked, false, false},
		"new, and the last is old":         {ago(7 * time.Minute), linked, false, true},
		"the same":                         {ago(7 * time.Minute), linked, true, false},
		"the same for long":                {ago(12 * time.Minute), linked, true, true},
		"the last word before a link ends": {ago(time.Minute), closed, true, true},
		"nothing was heard since":          {ago(0), closed, true, false},
		"loaded from the store":            {ago(time.Hour), observed.Cluster{Reported: now}, true, false},
	} {
		cl := &v1alpha1.Cluster{ObjectMeta: metav1.ObjectMeta{Name: "c"}}
		cl.Status.Report = c.stored
		if got := (&Reconciler{}).report(cl, c.seen, now, c.same); got != c.want {
			t.Errorf("%s: stored is %v", name, got)
		}
	}
}
