// Package failover_test proves that of two hubs on one store one leads, and
// that agents obey the one that leads, whatever becomes of the other.
package failover_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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
	if second.Kubeconfig() != first.Kubeconfig() { // one of a Kubernetes cluster leads to the leader alone
		reachesThrough(t, f, second)
	}

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

// reachesThrough asks a standby for what only the leader has: the fleet, uploads,
// and streams to a pod, under the caller's own name.
func reachesThrough(t *testing.T, f *testfleet.Fleet, standby *testfleet.Hub) {
	t.Helper()
	first := f.Hub
	f.Hub = standby
	defer func() { f.Hub = first }()
	f.Deploy("told", "web", pod, "--cluster", "a").Settles(1)
	if status := standby.MustCLI("status"); !strings.Contains(status, "1 of 1 connected") {
		t.Errorf("status by a standby:\n%s", status)
	}
	err := f.Member("a").Client().Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: "told", Name: "people"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "edit"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "atoll:atoll-admin"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	kubectl := func(args ...string) testfleet.Result {
		return standby.CLI(append([]string{"kubectl", "-C", "a", "--", "-n", "told"}, args...)...)
	}
	if r := kubectl("wait", "pod/web", "--for=condition=Ready", "--timeout=2m"); r.Code != 0 {
		t.Fatalf("wait for the pod: %s", r)
	}
	if r := kubectl("exec", "web", "--", "echo", "by the standby"); r.Code != 0 || !strings.Contains(r.Stdout, "by the standby") {
		t.Errorf("exec by a standby: %s", r)
	}
	if r := kubectl("exec", "web", "--", "false"); r.Code != 1 {
		t.Errorf("the exit code of a command is lost: %s", r)
	}
	if r := kubectl("logs", "web"); r.Code != 0 {
		t.Errorf("logs by a standby: %s", r)
	}
	if r := kubectl("get", "nodes"); r.Code == 0 || !strings.Contains(r.Stderr, `"atoll:atoll-admin"`) {
		t.Errorf("what the caller may not do in the member: %s", r)
	}
}

const pod = `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web"},"spec":{"containers":[{"name":"main","image":"web:1","ports":[{"containerPort":8080}]}]}}`
