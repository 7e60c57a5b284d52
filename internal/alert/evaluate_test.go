package alert_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/alert"
	"atoll.dev/atoll/internal/certificates"
	"atoll.dev/atoll/internal/observed"
	"atoll.dev/atoll/internal/report"
)

var now = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

func ago(d time.Duration) metav1.Time { return metav1.NewTime(now.Add(-d)) }

func cluster(name string, state v1alpha1.ConnectionState, since time.Duration) v1alpha1.Cluster {
	at := ago(since)
	return v1alpha1.Cluster{
		ObjectMeta: metav1.ObjectMeta{Name: name, CreationTimestamp: ago(48 * time.Hour)},
		Spec:       v1alpha1.ClusterSpec{Owner: "platform", Accepted: true},
		Status: v1alpha1.ClusterStatus{
			Identity:   &v1alpha1.AgentIdentity{},
			Connection: v1alpha1.Connection{State: state, Since: &at},
		},
	}
}

func application(name string, conditions ...metav1.Condition) v1alpha1.Application {
	return v1alpha1.Application{
		ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: name, CreationTimestamp: ago(48 * time.Hour)},
		Status:     v1alpha1.ApplicationStatus{Conditions: conditions},
	}
}

func isNot(kind, reason, message string, since time.Duration) metav1.Condition {
	return metav1.Condition{Type: kind, Status: metav1.ConditionFalse, Reason: reason, Message: message, LastTransitionTime: ago(since)}
}

// names are the rules that hold, with their subjects.
func names(all []alert.Alert) []string {
	out := []string{}
	for _, a := range all {
		out = append(out, a.Name+" "+a.Subject())
	}
	return out
}

func TestEachRuleHoldsOfWhatItIsAbout(t *testing.T) {
	unaccepted := cluster("new", v1alpha1.Pending, time.Hour)
	unaccepted.Spec.Accepted = false
	unconfirmed := cluster("old", v1alpha1.Disconnected, 48*time.Hour)
	unconfirmed.Annotations = map[string]string{v1alpha1.AnnotationUnconfirmed: "rebuilt"}
	unjoined := cluster("none", v1alpha1.Pending, 48*time.Hour)
	unjoined.Status.Identity = nil
	upgraded := cluster("up", v1alpha1.Connected, time.Hour)
	upgraded.Spec.Agent = &v1alpha1.AgentWish{Image: "agent:2"}
	upgraded.Status.Facts = &v1alpha1.Facts{KubernetesVersion: "v1.36.1", Agent: &v1alpha1.AgentFacts{
		Version: "v0.3.0", Upgrade: &v1alpha1.AgentUpgrade{Image: "agent:2", State: v1alpha1.UpgradeRolledBack, Message: "no pod"}}}
	behind := cluster("behind", v1alpha1.Connected, time.Hour)
	behind.Status.Facts = &v1alpha1.Facts{KubernetesVersion: "v1.32.9-gke.100", Agent: &v1alpha1.AgentFacts{Version: "v0.1.4"}}
	odd := cluster("odd", v1alpha1.Connected, time.Hour)
	odd.Status.Facts = &v1alpha1.Facts{KubernetesVersion: "\x1b[31m", Agent: &v1alpha1.AgentFacts{Version: "dev"}}
	same, liar := *upgraded.DeepCopy(), *odd.DeepCopy()
	same.Name, same.Spec.Agent = "same", nil
	liar.Name, liar.Status.Facts.KubernetesVersion = "liar", "v1.999.0"

	unused := cluster("unused", v1alpha1.Connected, time.Hour)
	unused.CreationTimestamp = ago(8 * 24 * time.Hour)

	for _, c := range []struct {
		what  string
		state alert.State
		want  []string
	}{
		{"nothing", alert.State{}, []string{}},
		{"a cluster that was just lost", alert.State{Clusters: []v1alpha1.Cluster{cluster("a", v1alpha1.Disconnected, time.Minute)}}, []string{}},
		{"a cluster that is lost, and one that is well", alert.State{Clusters: []v1alpha1.Cluster{cluster("a", v1alpha1.Disconnected, time.Hour), cluster("b", v1alpha1.Connected, time.Hour)}},
			[]string{"ClusterDisconnected cluster/a"}},
		{"an agent that is long away, and a cluster that nobody uses", alert.State{Clusters: []v1alpha1.Cluster{cluster("a", v1alpha1.Disconnected, 40*24*time.Hour), unused}},
			[]string{"ClusterDisconnected cluster/a", "AgentStale cluster/a", "ClusterUnused cluster/unused"}},
		{"late heartbeats", alert.State{Clusters: []v1alpha1.Cluster{cluster("a", v1alpha1.Stale, time.Hour)}}, []string{"ClusterStale cluster/a"}},
		{"who was never let in", alert.State{Clusters: []v1alpha1.Cluster{unaccepted, unconfirmed, unjoined}},
			[]string{"ClusterUnconfirmed cluster/old", "ClusterNeverJoined cluster/none", "ClusterNotAccepted cluster/new"}},
		{"versions that lie apart, and what is no version", alert.State{Version: "v0.3.2", Clusters: []v1alpha1.Cluster{upgraded, behind, odd, same, liar}},
			[]string{"AgentUpgradeFailed cluster/up", "AgentVersionSkew cluster/behind", "KubernetesVersionSkew cluster/behind"}},
		{"certificates", alert.State{Certificates: []certificates.Certificate{
			{Use: "agents' root", Late: now, Expires: now.Add(time.Hour)}, {Use: "API", Late: now.Add(time.Second), Expires: now.Add(time.Hour)},
			{Use: "agent", Cluster: "a", Late: now.Add(-time.Hour)}, {Use: "agent", Cluster: "away"},
			certificates.Unreadable("authority", errors.New("no file"))}},
			[]string{"HubCertificateExpiring authority", "HubCertificateExpiring agents' root", "AgentCertificateNotRenewed cluster/a"}},
		{"applications that do not get as far as clusters", alert.State{Applications: []v1alpha1.Application{
			application("bad", isNot(v1alpha1.ConditionAccepted, "Invalid", "no", time.Hour)),
			application("cut", isNot(v1alpha1.ConditionFetched, "Unreachable", "no host", time.Hour), isNot(v1alpha1.ConditionAccepted, "Unreachable", "no host", time.Hour)),
			application("ice", isNot(v1alpha1.ConditionPlaced, v1alpha1.ConditionFrozen, "frozen", time.Hour)),
			application("off", isNot(v1alpha1.ConditionPlaced, "NoClusters", "none matches", time.Hour)),
			application("out", isNot(v1alpha1.ConditionPlaced, "DeletionHeld", "too many", time.Second)),
		}}, []string{"ApplicationUnplaced demo/off", "ApplicationRefused demo/bad", "SourceFailing demo/cut", "DeletionHeld demo/out"}},
		{"rollouts", alert.State{Applications: []v1alpha1.Application{
			application("h", isNot(v1alpha1.ConditionRolledOut, string(v1alpha1.RolloutHalted), "wave 1", time.Second)),
			application("b", isNot(v1alpha1.ConditionRolledOut, string(v1alpha1.RolloutRolledBack), "wave 1", time.Second)),
			application("w", isNot(v1alpha1.ConditionRolledOut, string(v1alpha1.RolloutWaiting), "approval", 2*time.Hour)),
			application("p", isNot(v1alpha1.ConditionRolledOut, string(v1alpha1.RolloutPaused), "by a person", 2*time.Hour)),
		}}, []string{"RolloutHalted demo/h", "RolloutRolledBack demo/b", "RolloutWaiting demo/w"}},
	} {
		if d := cmp.Diff(c.want, names(alert.Evaluate(c.state, now))); d != "" {
			t.Errorf("%s: %s", c.what, d)
		}
	}
}

// member is a connected cluster that reports what it should run.
func member(name string, sync report.Sync, health report.Health, since time.Duration) observed.Member {
	return observed.Member{
		Cluster: name, Connection: v1alpha1.Connected, Want: "sha256:1", FromTerm: true, Reported: now,
		State: report.State{Entry: "sha256:1", Sync: sync, Health: health, Since: now.Add(-since).UnixMilli(), Message: "said by " + name},
	}
}

// on is an application with the counts that its members make.
func on(app v1alpha1.Application, members []observed.Member) alert.State {
	app.Status.Counts = observed.Summarise(members).Counts
	return alert.State{Applications: []v1alpha1.Application{app}, Members: func(*v1alpha1.Application) []observed.Member { return members }}
}

func TestWhatAnApplicationSuffersOnManyClustersIsOneAlertThatNamesSome(t *testing.T) {
	members := []observed.Member{
		member("held", report.Held, report.HealthHealthy, time.Hour),
		member("lately", report.Failed, report.HealthHealthy, time.Minute),
		member("well", report.InSync, report.HealthHealthy, time.Hour),
	}
	away := member("away", report.InSync, report.HealthHealthy, time.Hour) // is an alert of its own
	away.Connection = v1alpha1.Disconnected
	members = append(members, away)
	for i := range 12 {
		members = append(members, member(fmt.Sprintf("c%02d", i), report.InSync, report.HealthDegraded, time.Duration(60-i)*time.Minute))
	}
	got := alert.Evaluate(on(application("shop"), members), now)
	if d := cmp.Diff([]string{"ApplicationDegraded demo/shop", "ApplicationHeld demo/shop"}, names(got)); d != "" {
		t.Fatal(d)
	}
	want := alert.Alert{
		Name: alert.ApplicationDegraded, Severity: alert.Critical, Labels: map[string]string{"project": "demo", "application": "shop"},
		Count: 12, Named: []string{"c00", "c01", "c02", "c03", "c04", "c05", "c06", "c07", "c08", "c09"},
		Summary: "demo/shop: does not work on c00, c01, c02, c03, c04, c05, c06, c07, c08, c09 and 2 more: said by c00",
		Do:      "atoll explain app/shop -p demo", Since: now.Add(-time.Hour),
	}
	if d := cmp.Diff(want, got[0]); d != "" {
		t.Error(d)
	}
}

// That nobody hears of it any more makes nothing well, and resolves no alert.
func TestWhatWasSaidLastCountsWhileAClusterIsAway(t *testing.T) {
	m := member("a", report.Failed, report.HealthDegraded, time.Hour)
	for _, fromTerm := range []bool{true, false} {
		m.Connection, m.FromTerm = v1alpha1.Disconnected, fromTerm // or the hub was started again
		got := alert.Evaluate(on(application("shop"), []observed.Member{m}), now)
		if d := cmp.Diff([]string{"ApplicationDegraded demo/shop", "ApplicationFailed demo/shop"}, names(got)); d != "" {
			t.Fatal(d)
		}
		if want := "demo/shop: not applied on a: said by a (as it was when the cluster was heard last)"; got[1].Summary != want {
			t.Errorf("it says %q", got[1].Summary)
		}
	}
	m.Want = "sha256:2" // what it said is of something else
	if got := alert.Evaluate(on(application("shop"), []observed.Member{m}), now); len(got) > 0 {
		t.Errorf("%v", names(got))
	}
}

func TestAnAgentWhoseClockIsAheadDelaysNoAlert(t *testing.T) {
	m := member("a", report.InSync, report.HealthDegraded, -48*time.Hour)
	app := application("shop", isNot(v1alpha1.ConditionReady, "Degraded", "a", time.Hour))
	if d := cmp.Diff([]string{"ApplicationDegraded demo/shop"}, names(alert.Evaluate(on(app, []observed.Member{m}), now))); d != "" {
		t.Error(d)
	}
}

func TestHeldDeletionsOfClustersThatLeaveAndStayAreOneDecision(t *testing.T) {
	m := member("a", report.Held, report.HealthHealthy, time.Hour)
	m.State.HeldDeletion = "sha256:d"
	got := alert.Evaluate(on(application("shop", isNot(v1alpha1.ConditionPlaced, "DeletionHeld", "too many leave", time.Hour)), []observed.Member{m}), now)
	if d := cmp.Diff([]string{"DeletionHeld demo/shop"}, names(got)); d != "" {
		t.Fatal(d)
	}
	if got[0].Do != "atoll allow-deletion app/shop -p demo" {
		t.Errorf("to do is %q", got[0].Do)
	}
}

// A connected cluster that is not seen to be well for long enough is always told
// of, whatever it says or leaves unsaid.
func TestSilenceIsNeverHealth(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := member("a", rapid.SampledFrom([]report.Sync{report.InSync, report.Progressing, report.Drifted, report.Held, report.Failed, ""}).Draw(t, "sync"),
			rapid.SampledFrom([]report.Health{report.HealthHealthy, report.HealthProgressing, report.HealthDegraded, report.HealthUnknown, ""}).Draw(t, "health"), 24*time.Hour)
		if rapid.Bool().Draw(t, "of another entry") {
			m.State.Entry = "sha256:0"
		}
		if rapid.Bool().Draw(t, "never reported") {
			m.Reported = time.Time{}
		}
		m.FromTerm = rapid.Bool().Draw(t, "said to this hub")
		well := m.Current() && m.Sync() == report.InSync && m.Health() == report.HealthHealthy
		app := application("shop", isNot(v1alpha1.ConditionReady, "x", "x", 24*time.Hour))
		if got := alert.Evaluate(on(app, []observed.Member{m}), now); (len(got) == 0) != well {
			t.Fatalf("well %v, alerts %v", well, names(got))
		}
	})
}

// Whatever the fleet's state, alerts are few, each has a name of its own and a
// cause, and a hub that evaluates twice says the same.
func TestAlertsAreFewAndSteady(t *testing.T) {
	states := []v1alpha1.ConnectionState{v1alpha1.Connected, v1alpha1.Stale, v1alpha1.Disconnected, v1alpha1.Pending, ""}
	reasons := []string{"DeletionHeld", "Frozen", "NoClusters", "Halted", "RolledBack", "Waiting", "Paused", ""}
	kinds := []string{v1alpha1.ConditionAccepted, v1alpha1.ConditionFetched, v1alpha1.ConditionPlaced, v1alpha1.ConditionRolledOut}
	rapid.Check(t, func(t *rapid.T) {
		var s alert.State
		age := rapid.IntRange(0, 100)
		for i := range rapid.IntRange(0, 60).Draw(t, "clusters") {
			c := cluster(fmt.Sprintf("c%d", i), rapid.SampledFrom(states).Draw(t, "state"), time.Duration(age.Draw(t, "age"))*time.Minute)
			c.Spec.Accepted = rapid.IntRange(0, 9).Draw(t, "accepted") > 0
			s.Clusters = append(s.Clusters, c)
		}
		for i := range rapid.IntRange(0, 60).Draw(t, "applications") {
			app := application(fmt.Sprintf("a%d", i))
			for _, kind := range kinds {
				if rapid.Bool().Draw(t, kind) {
					app.Status.Conditions = append(app.Status.Conditions, isNot(kind, rapid.SampledFrom(reasons).Draw(t, "reason"),
						strings.Repeat("long ", rapid.IntRange(0, 300).Draw(t, "length")), time.Duration(age.Draw(t, "age"))*time.Minute))
				}
			}
			s.Applications = append(s.Applications, app)
		}
		first := alert.Evaluate(s, now)
		if d := cmp.Diff(first, alert.Evaluate(s, now)); d != "" {
			t.Fatal(d)
		}
		seen, rules := map[string]bool{}, map[string]int{}
		for _, a := range first {
			rules[a.Name]++
			if seen[a.ID()] || a.Summary == "" || len(a.Summary) > 512 || len(a.Named) > alert.MaxNamed || a.Do == "" {
				t.Fatalf("%+v", a)
			}
			if len(a.Labels) == 0 && len(a.Named) == 0 {
				t.Fatalf("it names nothing: %+v", a)
			}
			seen[a.ID()] = true
		}
		for name, n := range rules {
			if n > 26 {
				t.Fatalf("%d of %s", n, name)
			}
		}

		// One more that comes later takes none away.
		s.Clusters = append(s.Clusters, cluster("zz-later", v1alpha1.Disconnected, 5*time.Minute))
		later := alert.Evaluate(s, now)
		for _, a := range first {
			if len(a.Labels) > 0 && !slices.ContainsFunc(later, func(b alert.Alert) bool { return b.ID() == a.ID() }) {
				t.Fatalf("%s of %s went away", a.Name, a.Subject())
			}
		}
	})
}
