package e2e_test

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	"strconv"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	fleetapi "atoll.dev/atoll/internal/fleet"
	"atoll.dev/atoll/internal/report"
	"atoll.dev/atoll/internal/sandbox"
	"atoll.dev/atoll/internal/testfleet"
)

// applies matches the API server's count of server-side applies to kinds that
// the shop has; Kubernetes itself applies none of them.
var applies = regexp.MustCompile(`^apiserver_request_total\{.*resource="(configmaps|services|deployments|secrets|statefulsets|jobs|networkpolicies|serviceaccounts)".*verb="APPLY".*\} ([0-9.e+]+)$`)

// applied is how many server-side applies the member has seen since it started.
func applied(t *testing.T, m *testfleet.Member) int {
	t.Helper()
	total := 0
	for _, n := range appliedByKind(t, m) {
		total += n
	}
	return total
}

// appliedByKind is the same by resource, such as "configmaps".
func appliedByKind(t *testing.T, m *testfleet.Member) map[string]int {
	t.Helper()
	raw, err := rest.UnversionedRESTClientFor(withCodec(m.Config()))
	if err != nil {
		t.Fatal(err)
	}
	body, err := raw.Get().AbsPath("/metrics").Stream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	counts := map[string]int{}
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if found := applies.FindStringSubmatch(lines.Text()); found != nil {
			n, err := strconv.ParseFloat(found[2], 64)
			if err != nil {
				t.Fatal(err)
			}
			counts[found[1]] += int(n)
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return counts
}

// versions are the resourceVersions of what nobody but the agent writes, and
// the UIDs of all pods, of the shop.
func versions(t *testing.T, m *testfleet.Member) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, kind := range []string{"ConfigMap", "Service", "Secret", "ServiceAccount"} {
		list := &unstructured.UnstructuredList{}
		list.SetAPIVersion("v1")
		list.SetKind(kind + "List")
		if err := m.Client().List(t.Context(), list, client.InNamespace("shop")); err != nil {
			t.Fatal(err)
		}
		for _, o := range list.Items {
			out[kind+"/"+o.GetName()] = o.GetResourceVersion()
		}
	}
	pods := &corev1.PodList{}
	if err := m.Client().List(t.Context(), pods, client.InNamespace("shop")); err != nil {
		t.Fatal(err)
	}
	for _, p := range pods.Items {
		out["Pod/"+p.Name] = string(p.UID)
	}
	return out
}

func TestAHubThatRestartsReappliesNothingAndRestartsNoWorkload(t *testing.T) {
	f := fleet(t)
	app := shop(t, f)
	type picture struct {
		versions map[string]string
		applied  int
	}
	take := func(m *testfleet.Member) picture { return picture{versions(t, m), applied(t, m)} }
	a, b := f.Member("a"), f.Member("b")
	before := map[string]picture{"a": take(a), "b": take(b)}
	if before["a"].applied == 0 {
		t.Fatal("the delivery of the shop was not counted; this test would prove nothing")
	}
	generation := app.Get().Generation
	f.Hub.Restart()
	for _, name := range []string{"a", "b"} {
		app.On(name, "is reported in the new term", func(s fleetapi.ClusterState) bool {
			return s.Connection == v1alpha1.Connected && s.Current && s.State.Sync == report.InSync && s.State.Health == report.HealthHealthy
		})
	}
	app.Settles(2)
	if got := app.Get().Generation; got != generation {
		t.Errorf("the application's generation went from %d to %d", generation, got)
	}
	for _, m := range []*testfleet.Member{a, b} {
		now := take(m)
		if !maps.Equal(now.versions, before[m.Name].versions) {
			t.Errorf("%s was written to:\n%v\nbefore:\n%v", m.Name, now.versions, before[m.Name].versions)
		}
		if now.applied != before[m.Name].applied {
			t.Errorf("%s saw %d applies", m.Name, now.applied-before[m.Name].applied)
		}
	}
}

// connected waits until the hub has heard of the clusters in its term.
func connected(t *testing.T, f *testfleet.Fleet, clusters ...string) {
	t.Helper()
	for _, name := range clusters {
		eventually(t, name+" is connected", func(ctx context.Context) error {
			r, err := f.Hub.Fleet().Report(ctx, name)
			if err == nil && r.Connection != v1alpha1.Connected {
				err = fmt.Errorf("it is %s", r.Connection)
			}
			return err
		})
	}
}

func TestAHubKilledBetweenAnyTwoWritesReachesTheSameEnd(t *testing.T) {
	f := fleet(t)
	f.Project("killed")
	const objects = 12
	delivered := map[string]int{}
	for round := range 10 {
		connected(t, f, "a", "b")
		done := make(chan testfleet.Result, 1)
		manifests := configMaps(0, objects, fmt.Sprint(round))
		go func() {
			done <- f.Hub.CLIWith(manifests, "deploy", "items", "-p", "killed", "-f", "-", "--to", "stage=production", "--on-delete", "Delete")
		}()
		// From before the upload is stored to after the agents have reported.
		pause := time.Duration(rand.IntN(900)) * time.Millisecond
		<-time.After(pause)
		f.Hub.Kill()
		result := <-done
		t.Logf("round %d: killed after %s, the deploy ended with %d", round, pause, result.Code)
		f.Hub.Start()
		for _, name := range []string{"a", "b"} { // nothing that was delivered is ever lost
			found, err := items(t.Context(), f.Member(name), "killed")
			if err != nil {
				t.Fatal(err)
			}
			if len(found) < delivered[name] {
				t.Errorf("%s had %d items, and %d after round %d", name, delivered[name], len(found), round)
			}
			delivered[name] = len(found)
		}
	}
	app := f.Deploy("killed", "items", configMaps(0, objects, "last"), "--to", "stage=production")
	app.Settles(2)
	for _, name := range []string{"a", "b"} {
		found, err := items(t.Context(), f.Member(name), "killed")
		if err != nil || len(found) != objects {
			t.Fatalf("%s has %d items: %v", name, len(found), err)
		}
		for _, cm := range found {
			if cm.Data["value"] != "last" {
				t.Errorf("%s of %s is from round %s", cm.Name, name, cm.Data["value"])
			}
		}
	}
}

func TestAnAgentKilledInMidApplyGoesOnWhereItWas(t *testing.T) {
	f := fleet(t)
	f.Project("midway")
	const objects = 500
	m := f.Member("a")
	app := f.Deploy("midway", "items", configMaps(0, objects, "1"), "--cluster", "a")
	eventually(t, "some are applied", func(ctx context.Context) error {
		found, err := items(ctx, m, "midway")
		if err == nil && len(found) == 0 {
			err = fmt.Errorf("none yet")
		}
		return err
	})
	m.Agent.Kill()
	found, err := items(t.Context(), m, "midway")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("killed after %d of %d", len(found), objects)
	m.Agent.Start()
	app.Settles(1)
	now, err := items(t.Context(), m, "midway")
	if err != nil || len(now) != objects {
		t.Fatalf("there are %d: %v", len(now), err)
	}
	for name, cm := range found {
		if now[name].UID != cm.UID {
			t.Errorf("%s was made anew", name)
		}
	}
	// What was applied before the kill is owned like the rest: it can be pruned.
	f.Deploy("midway", "items", configMaps(5, objects-5, "1"))
	count(t, m, "midway", objects-5)
	app.Settles(1)
}

func TestAMemberWhoseAPIIsDownDelaysNobodyAndCatchesUp(t *testing.T) {
	f := fleet(t)
	f.Project("outage")
	app := f.Deploy("outage", "web", stream(configMap("web", "1"), configMap("other", "1")), "--to", "stage=production")
	app.Settles(2)
	a, b := f.Member("a"), f.Member("b")
	if err := b.Sandbox.Kill(sandbox.APIServer); err != nil {
		t.Fatal(err)
	}
	restore := func() {
		if err := b.Sandbox.Start(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	defer restore()
	f.Deploy("outage", "web", stream(configMap("web", "2"), configMap("other", "1")))
	becomes(t, a, "outage", "web", "2")
	app.On("a", "is in sync", func(s fleetapi.ClusterState) bool { return s.Current && s.State.Sync == report.InSync })
	app.On("b", "says that its API is away, and claims nothing", func(s fleetapi.ClusterState) bool {
		return s.Connection == v1alpha1.Connected && has(s.State.Message, "unreachable") && s.State.Health != report.HealthHealthy && s.State.Sync != report.InSync
	})
	if out := f.Hub.CLI("status"); !has(out.Stdout, "Clusters") {
		t.Errorf("status: %s", out)
	}
	restore()
	app.Settles(2)
	becomes(t, b, "outage", "web", "2")
	becomes(t, b, "outage", "other", "1")
}
