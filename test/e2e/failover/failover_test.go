// Package failover_test proves that of two hubs on one store one leads, and
// that agents obey the one that leads, whatever becomes of the other.
package failover_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/internal/testfleet"
)

const manifest = `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"told"},"data":{"by":%q}}`

func TestAgentsObeyTheHubThatLeadsAndNoOther(t *testing.T) {
	if !testfleet.StoresOutside() {
		t.Skip("an embedded store has one hub; set " + testfleet.StorageVariable)
	}
	f := testfleet.Start(t, testfleet.Options{Replicas: true, Clusters: []testfleet.Cluster{testfleet.Named("a")}})
	a := f.Member("a")
	tell := func(by *testfleet.Hub, word string) {
		t.Helper()
		f.Hub = by // commands go to the hub that leads
		f.Deploy("told", "told", fmt.Sprintf(manifest, word), "--cluster", "a")
		testfleet.Eventually(t, "the member is told by "+word, func(ctx context.Context) error { return says(ctx, a, word) })
	}
	f.Project("told")
	first := f.Hub
	term := first.Leads(0)
	tell(first, "the first")
	second := f.StandBy()

	killed := time.Now()
	first.Kill()
	term = second.Leads(term)
	t.Logf("%s without a leader after a kill", time.Since(killed).Round(100*time.Millisecond))
	tell(second, "the second")

	first.StandBy()
	frozen := time.Now()
	second.Freeze()
	first.Leads(term)
	t.Logf("%s without a leader after one froze", time.Since(frozen).Round(100*time.Millisecond))
	tell(first, "the first again")

	// It wakes with all its links and plans, and the time that it slept.
	second.Thaw()
	t.Logf("the hub that woke ended with:\n%s", second.Ends())
	if err := says(t.Context(), a, "the first again"); err != nil {
		t.Errorf("after the other hub woke: %v", err)
	}
	tell(first, "the first to the end")
}

func says(ctx context.Context, m *testfleet.Member, word string) error {
	told := &corev1.ConfigMap{}
	err := m.Client().Get(ctx, client.ObjectKey{Namespace: "told", Name: "told"}, told)
	if err == nil && told.Data["by"] != word {
		err = fmt.Errorf("the member was told by %s", told.Data["by"])
	}
	return err
}
