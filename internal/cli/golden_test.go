package cli

import (
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/alert"
	"atoll.dev/atoll/internal/certificates"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/explain"
	"atoll.dev/atoll/internal/fleet"
	"atoll.dev/atoll/internal/placement"
	"atoll.dev/atoll/internal/report"
)

var update = flag.Bool("update", false, "write the golden files")

var now = time.Date(2026, 3, 1, 9, 51, 2, 0, time.UTC)

func before(d time.Duration) time.Time { return now.Add(-d) }

var deploymentWeb = report.ObjectRef{Group: "apps", Version: "v1", Kind: "Deployment", Namespace: "shop", Name: "web"}

// TestScreens draws each answer on a page of 100 columns without colour.
func TestScreens(t *testing.T) {
	screens := map[string]func(io.Writer, view) error{
		"status-trouble": func(w io.Writer, v view) error { return writeOverview(w, troubled(), v) },
		"status-well":    func(w io.Writer, v view) error { return writeOverview(w, well(5, 12), v) },
		"status-empty":   func(w io.Writer, v view) error { return writeOverview(w, well(0, 0), v) },
		"explain":        func(w io.Writer, v view) error { return writeChain(w, chain(), v) },
		"tree":           func(w io.Writer, v view) error { return writeTree(w, "app/shop", objects(), v) },
		"diff":           func(w io.Writer, v view) error { return writeDiff(w, differences(), v) },
		"events":         func(w io.Writer, v view) error { return writeEvents(w, events(), v) },
		"placement":      func(w io.Writer, v view) error { return writeVerdicts(w, verdicts(), v) },
		"alerts":         func(w io.Writer, v view) error { return writeAlerts(w, firing(), v) },
		"certificates":   func(w io.Writer, v view) error { return writeCertificates(w, inventory(), v) },
		"cluster":        func(w io.Writer, v view) error { return describeCluster(cluster(), v).write(w, v) },
		"application": func(w io.Writer, v view) error {
			p := describeApplication(application(), v)
			p.table("Clusters", clusterStates(states(), v))
			return p.write(w, v)
		},
	}
	for name, draw := range screens {
		t.Run(name, func(t *testing.T) {
			var b strings.Builder
			if err := draw(&b, view{width: 100, now: now}); err != nil {
				t.Fatal(err)
			}
			for _, line := range strings.Split(b.String(), "\n") {
				if utf8.RuneCountInString(line) > 100 {
					t.Errorf("wider than 100 columns: %s", line)
				}
				if strings.TrimRight(line, " ") != line {
					t.Errorf("blanks at the end: %q", line)
				}
			}
			golden(t, name, b.String())
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", "golden", name+".txt")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("the screen changed (accept it with -update):\n%s", d)
	}
}

// TestColourNeverMovesAnything: painted or not, the text is the same.
func TestColourNeverMovesAnything(t *testing.T) {
	var bare, painted strings.Builder
	if err := writeOverview(&bare, troubled(), view{width: 100, now: now}); err != nil {
		t.Fatal(err)
	}
	if err := writeOverview(&painted, troubled(), view{ink: true, width: 100, now: now}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(painted.String(), "\x1b[31m") {
		t.Error("nothing is red")
	}
	if d := cmp.Diff(bare.String(), escape.ReplaceAllString(painted.String(), "")); d != "" {
		t.Error(d)
	}
}

func well(clusters, apps int) *fleet.Overview {
	placed := int32(4 * apps)
	return &fleet.Overview{
		At:           now,
		Hub:          fleet.HubInfo{Version: "v0.1.0", Incarnation: "7f3a", Term: 3, Storage: "embedded"},
		Clusters:     fleet.ClusterTotals{Total: clusters, Connected: clusters, Ready: clusters},
		Applications: fleet.AppTotals{Applications: apps, Counts: v1alpha1.Counts{Placed: placed, InSync: placed, Healthy: placed}},
	}
}

func firing() []alert.Alert {
	return []alert.Alert{
		{
			Name: alert.ApplicationDegraded, Severity: alert.Critical, Labels: map[string]string{"project": "demo", "application": "shop"}, Count: 12, Since: before(time.Hour),
			Summary: "demo/shop: does not work on eu-1, eu-2 and 10 more: Deployment.apps/web in shop: 0 of 2 replicas are ready", Do: "atoll explain app/shop -p demo",
		},
		{Name: alert.ClusterStale, Severity: alert.Warning, Count: 3, Summary: "a cluster's link is open, and its heartbeats are late; beside those named apart, of 3 more: cluster/a, cluster/b, cluster/c", Do: "atoll status"},
	}
}

func inventory() []certificates.Certificate {
	return []certificates.Certificate{
		{Use: "agent", Name: "us-west-2", Issuer: "agents' root", Cluster: "us-west-2", Owner: "platform", Expires: before(time.Hour), Renewal: "the agent"},
		{Use: "API", Name: "atoll-hub", Issuer: "atoll-ca", Expires: now.Add(5 * 24 * time.Hour), Late: before(time.Hour), Renewal: "the hub"},
		certificates.Unreadable("agents' port", errors.New("no key")),
	}
}

func troubled() *fleet.Overview {
	o := well(5, 12)
	o.Alerts = fleet.AlertTotals{Critical: 1, Info: 2, Worst: &firing()[0]}
	o.Clusters = fleet.ClusterTotals{Total: 5, Connected: 3, Disconnected: 1, Pending: 1, Ready: 3}
	o.Applications.Counts = v1alpha1.Counts{Placed: 48, InSync: 44, Healthy: 34, Held: 1, Failed: 1, Drifted: 2, Degraded: 2, Unknown: 12}
	o.Down = []fleet.ClusterIssue{{
		Cluster: "us-west-2", State: v1alpha1.Disconnected, LastContact: before(4*time.Minute + 12*time.Second),
		Affects: []string{"bank/ledger", "demo/blog", "demo/cart", "demo/catalog", "demo/shop"},
		Message: "the agent is not connected; the cluster keeps enforcing what it last received", Do: "atoll describe cluster us-west-2",
	}}
	o.Held = []fleet.Attention{{
		Subject: "demo/shop", Cluster: "us-east-1", Reason: "DeletionHeld", Since: before(3 * time.Minute),
		Message: "34 objects would be deleted, more than the budget of 10: Deployment web, Deployment cart, Service web and 31 more",
		Do:      "atoll allow-deletion app/shop -p demo",
	}}
	o.Failing = []fleet.Attention{{
		Subject: "demo/blog", Cluster: "europe-west1", Reason: "Unhealthy", Since: before(90 * time.Second),
		Message: "Deployment.apps/blog in blog: 0 of 2 replicas are ready", Do: "atoll explain app/blog -p demo -C europe-west1",
	}}
	o.Decisions = []fleet.Attention{{
		Subject: "cluster/staging", Cluster: "staging", Reason: "NotAccepted",
		Message: "an agent has enrolled and waits to be accepted", Do: "atoll accept staging",
	}}
	return o
}

func chain() *explain.Chain {
	broken := explain.Link{
		Stage: explain.Delivery, Cluster: "us-west-2", Outcome: explain.Broken,
		Why: "the cluster is not connected, last heard 4m ago; its agent keeps enforcing what it last received",
		Do:  "look at the cluster and its agent there: kubectl -n atoll-system get pods, logs deploy/atoll-agent",
	}
	ok := func(s explain.Stage, why string) explain.Link {
		return explain.Link{Stage: s, Outcome: explain.OK, Why: why}
	}
	fine := []explain.Link{ok(explain.Desired, "asked"), ok(explain.Delivery, "connected"), ok(explain.Apply, "34 of 34 objects applied"), ok(explain.Health, "34 of 34 objects ready")}
	return &explain.Chain{
		Project: "demo", Application: "shop", Revision: "shop-0123456789ab",
		Links: []explain.Link{
			ok(explain.Source, "admitted, from laptop:/home/ann/shop/deploy"),
			ok(explain.Revision, "shop-0123456789ab holds 34 objects, the values of 1 Secret apart and sealed"),
			ok(explain.Placement, "on 3 clusters"),
		},
		Clusters: []explain.ClusterChain{
			{Cluster: "us-west-2", Links: []explain.Link{
				ok(explain.Desired, "the cluster is asked to run shop-0123456789ab in namespace shop"), broken,
				{Stage: explain.Apply, Outcome: explain.Unknown, Why: "the last report, 4m ago, said InSync"},
				{Stage: explain.Health, Outcome: explain.Unknown, Why: "the last report, 4m ago, said Healthy; silence is not health"},
			}},
			{Cluster: "europe-west1", Links: fine},
			{Cluster: "us-east-1", Links: fine},
		},
		First:   &broken,
		Summary: "demo/shop is broken at Delivery on us-west-2: " + broken.Why,
	}
}

func objects() *fleet.ApplicationObjects {
	pod := fleet.Object{Ref: report.ObjectRef{Kind: "Pod", Namespace: "shop", Name: "web-7d9f-x2x"}, Health: report.HealthHealthy}
	set := fleet.Object{Ref: report.ObjectRef{Group: "apps", Kind: "ReplicaSet", Namespace: "shop", Name: "web-7d9f"}, Owned: []fleet.Object{pod, pod}}
	return &fleet.ApplicationObjects{Clusters: []fleet.ClusterObjects{
		{Cluster: "europe-west1", AsOf: before(2 * time.Second), Objects: []fleet.Object{
			{Ref: report.ObjectRef{Kind: "Namespace", Name: "shop"}, Sync: report.InSync, Health: report.HealthHealthy},
			{Ref: deploymentWeb, Sync: report.InSync, Health: report.HealthHealthy, Owned: []fleet.Object{set}},
		}},
		{Cluster: "us-east-1", AsOf: before(time.Second), Objects: []fleet.Object{
			{Ref: deploymentWeb, Sync: report.Drifted, Health: report.HealthDegraded, Message: "0 of 2 replicas are ready"},
		}},
	}}
}

func differences() *fleet.ApplicationDiff {
	diffs := func(at time.Duration) []fleet.ObjectDiff {
		return []fleet.ObjectDiff{
			{Ref: deploymentWeb, Action: "Change", Changes: []report.Change{
				{Path: "spec.replicas", Old: "5", New: "2", Manager: "kubectl-edit", At: report.Time(before(at))},
				{Path: "spec.template.spec.containers[name=web].image", Old: "shop/web:0.9", New: "shop/web:1.0"},
			}},
			{Ref: report.ObjectRef{Version: "v1", Kind: "Secret", Namespace: "shop", Name: "keys"}, Action: "Change", Changes: []report.Change{{Path: "data.password", Old: "(hidden)", New: "(hidden)"}}},
			{Ref: report.ObjectRef{Version: "v1", Kind: "Service", Namespace: "shop", Name: "web"}, Action: "Create"},
			{Ref: report.ObjectRef{Version: "v1", Kind: "ConfigMap", Namespace: "shop", Name: "old"}, Action: "Delete"},
		}
	}
	return &fleet.ApplicationDiff{Clusters: []fleet.ClusterDiff{
		{Cluster: "europe-west1", AsOf: before(time.Second), Objects: diffs(time.Hour)},
		{Cluster: "staging", AsOf: before(time.Second)},
		{Cluster: "us-east-1", AsOf: before(3 * time.Second), Objects: diffs(2 * time.Hour)},
		{Cluster: "us-west-2", AsOf: before(time.Second), Objects: diffs(time.Hour)[2:3]},
	}}
}

func events() *fleet.ApplicationEvents {
	return &fleet.ApplicationEvents{Events: []fleet.Event{
		{At: before(time.Hour), Type: "Normal", Reason: "Placed", Object: "application/shop", Message: "on 3 clusters"},
		{At: before(time.Minute), Cluster: "us-east-1", Type: "Warning", Reason: "BackOff", Object: "pod/web-7d9f-x2x", Message: "restarting failed container", Count: 12},
	}}
}

func verdicts() []placement.Verdict {
	return []placement.Verdict{
		{Cluster: "europe-west1", Chosen: true, Reason: placement.Kept, Message: "it matches the labels stage=production and was chosen before"},
		{Cluster: "staging", Reason: placement.LabelsMismatch, Message: "its labels do not match stage=production", Also: []placement.Refusal{{Reason: placement.Cordoned}}},
		{Cluster: "us-west-2", Reason: placement.ResidencyViolation, Message: "the project may only run in jurisdiction eu and the cluster says us, which nothing but a change of the project's residency can alter"},
	}
}

func states() []fleet.ClusterState {
	at := func(c string, conn v1alpha1.ConnectionState, sync report.Sync, health report.Health, seen time.Duration, message string) fleet.ClusterState {
		return fleet.ClusterState{Cluster: c, Connection: conn, Current: true, AsOf: before(seen), State: report.State{
			Key: desired.Key{Project: "demo", Application: "shop"}, Sync: sync, Health: health, Objects: 34, Ready: 30, Message: message,
		}}
	}
	return []fleet.ClusterState{
		at("europe-west1", v1alpha1.Connected, report.InSync, report.HealthHealthy, time.Second, ""),
		at("us-west-2", v1alpha1.Disconnected, report.InSync, report.HealthUnknown, 4*time.Minute, "the cluster is not connected; it keeps enforcing what it last received"),
	}
}

func application() *v1alpha1.Application {
	asOf := metav1.NewTime(before(4 * time.Minute))
	count := int32(2)
	return &v1alpha1.Application{
		ObjectMeta: metav1.ObjectMeta{Name: "shop", Namespace: "demo", Labels: map[string]string{"team": "web", "tier": "one"}},
		Spec: v1alpha1.ApplicationSpec{
			Source:      v1alpha1.Source{Content: &v1alpha1.ContentSource{Digest: "sha256:" + strings.Repeat("0123456789abcdef", 4), Origin: "laptop:/home/ann/shop/deploy"}},
			Placement:   &v1alpha1.ApplicationPlacement{PlacementRule: v1alpha1.PlacementRule{Clusters: "stage=production", Where: "cluster.facts.nodes > 2", Count: &count}},
			LateBinding: true,
			Variables:   map[string]string{"color": "blue"},
		},
		Status: v1alpha1.ApplicationStatus{
			Revision: "shop-0123456789ab",
			Counts:   v1alpha1.Counts{Placed: 2, InSync: 2, Healthy: 1, Unknown: 1},
			AsOf:     &asOf,
			Conditions: []metav1.Condition{
				{Type: "Synced", Status: metav1.ConditionTrue, Reason: "InSync", Message: "in sync on 2 clusters", LastTransitionTime: metav1.NewTime(before(time.Hour))},
				{Type: "Healthy", Status: metav1.ConditionFalse, Reason: "ClusterUnreachable", Message: "us-west-2 was last seen 4m ago; silence is not health, and what runs there keeps running", LastTransitionTime: asOf},
			},
		},
	}
}

func cluster() *v1alpha1.Cluster {
	seen := metav1.NewTime(before(2 * time.Second))
	return &v1alpha1.Cluster{
		ObjectMeta: metav1.ObjectMeta{Name: "europe-west1", Labels: map[string]string{"stage": "production"}},
		Spec:       v1alpha1.ClusterSpec{Owner: "platform", Provider: "gke", Region: "europe-west1", Jurisdiction: "eu", Accepted: true, Profile: v1alpha1.ProfileNamespaces, Taints: []v1alpha1.Taint{{Key: "gpu", Effect: v1alpha1.TaintNoSelect}}},
		Status: v1alpha1.ClusterStatus{
			Connection: v1alpha1.Connection{State: v1alpha1.Connected, Since: &seen},
			Identity:   &v1alpha1.AgentIdentity{ClusterUID: "0c1d2e3f-0000-0000-0000-000000000000", KeyFingerprint: strings.Repeat("ab", 32), AgentVersion: "v0.1.0"},
			Facts:      &v1alpha1.Facts{ObservedAt: seen, KubernetesVersion: "v1.36.3", Nodes: 3, NodesReady: 3, Regions: []string{"europe-west1"}, Limits: []string{"exec is forbidden"}},
		},
	}
}
