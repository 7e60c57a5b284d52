package alert_test

import (
	"fmt"
	"testing"
	"time"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/alert"
	"atoll.dev/atoll/internal/observed"
	"atoll.dev/atoll/internal/report"
)

// BenchmarkEvaluate is a network that failed: every second of 10,000 clusters is
// lost, and each of 1,000 applications fails on 100.
func BenchmarkEvaluate(b *testing.B) {
	var s alert.State
	for i := range 10000 {
		state := v1alpha1.Connected
		if i%2 == 0 {
			state = v1alpha1.Disconnected
		}
		s.Clusters = append(s.Clusters, cluster(fmt.Sprintf("c%05d", i), state, time.Hour))
	}
	var members []observed.Member
	for i := range 100 {
		members = append(members, member(s.Clusters[i].Name, report.Failed, report.HealthDegraded, time.Hour))
	}
	for i := range 1000 {
		app := application(fmt.Sprintf("a%03d", i))
		app.Status.Counts = observed.Summarise(members).Counts
		for _, m := range members {
			app.Status.Clusters = append(app.Status.Clusters, m.Cluster)
		}
		s.Applications = append(s.Applications, app)
	}
	s.Members = func(*v1alpha1.Application) []observed.Member { return members }
	b.ReportAllocs()
	for b.Loop() {
		if n := len(alert.Evaluate(s, now)); n != 26+26+26 {
			b.Fatalf("%d alerts", n)
		}
	}
}
