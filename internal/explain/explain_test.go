package explain_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/explain"
	"atoll.dev/atoll/internal/observed"
	"atoll.dev/atoll/internal/placement"
	"atoll.dev/atoll/internal/report"
	"atoll.dev/atoll/internal/rollout"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// well is an application that is in sync and healthy on the clusters.
func well(clusters ...string) explain.Facts {
	app := &v1alpha1.Application{
		ObjectMeta: metav1.ObjectMeta{Name: "shop", Namespace: "demo", UID: "u", Generation: 3},
		Spec: v1alpha1.ApplicationSpec{
			Source:    v1alpha1.Source{Content: &v1alpha1.ContentSource{Digest: string(desired.Sum(nil)), Origin: "deploy/"}},
			Placement: &v1alpha1.ApplicationPlacement{PlacementRule: v1alpha1.PlacementRule{Clusters: "stage=production"}},
		},
		Status: v1alpha1.ApplicationStatus{Revision: "shop-1"},
	}
	for _, kind := range []string{v1alpha1.ConditionAccepted, v1alpha1.ConditionPlaced} {
		app.Status.Conditions = append(app.Status.Conditions, metav1.Condition{Type: kind, Status: metav1.ConditionTrue, Reason: "OK", ObservedGeneration: 3})
	}
	project := &v1alpha1.Project{ObjectMeta: metav1.ObjectMeta{Name: "demo"}}
	f := explain.Facts{
		Now: now, Application: app, Project: project, Stored: true,
		Revision: &v1alpha1.Revision{ObjectMeta: metav1.ObjectMeta{Name: "shop-1"}, Spec: v1alpha1.RevisionSpec{Objects: 12, Secrets: 1, Author: "ann"}},
		Decision: placement.Decision{Why: map[string]placement.Verdict{}, Message: fmt.Sprintf("on %d clusters", len(clusters))},
	}
	for _, name := range clusters {
		entry := desired.Build(app, project, &v1alpha1.Cluster{ObjectMeta: metav1.ObjectMeta{Name: name}}, desired.Sum(nil))
		f.Decision.Chosen = append(f.Decision.Chosen, name)
		f.Decision.Why[name] = placement.Verdict{Cluster: name, Chosen: true, Reason: placement.Chosen}
		f.Clusters = append(f.Clusters, explain.Cluster{
			Member: observed.Member{
				Cluster: name, Connection: v1alpha1.Connected, Want: entry.Digest(), Reported: now, FromTerm: true,
				State: report.State{Key: entry.Key, Entry: entry.Digest(), Sync: report.InSync, Health: report.HealthHealthy, Objects: 12, Applied: 12, Ready: 12},
			},
			Entry: &entry, Confirmed: true, Heard: now, Accepted: true, Joined: true,
		})
	}
	return f
}

func refuse(f *explain.Facts, kind, reason, message string) {
	for i := range f.Application.Status.Conditions {
		if c := &f.Application.Status.Conditions[i]; c.Type == kind {
			c.Status, c.Reason, c.Message = metav1.ConditionFalse, reason, message
		}
	}
}

func trouble(f *explain.Facts, sync report.Sync, problem report.Problem) {
	s := &f.Clusters[1].State
	s.Sync, s.Applied = sync, 11
	s.Problems = []report.Problem{problem}
}

var web = report.ObjectRef{Group: "apps", Kind: "Deployment", Namespace: "shop", Name: "web"}

// A cluster that runs well what it ran before does not hide that the change
// was taken back.
func TestARolloutIsALinkOfTheChain(t *testing.T) {
	for phase, want := range map[v1alpha1.RolloutPhase]struct {
		outcome explain.Outcome
		do      string
	}{
		v1alpha1.RolloutProgressing: {explain.Waiting, ""},
		v1alpha1.RolloutWaiting:     {explain.Waiting, "atoll rollout promote app/shop --project demo"},
		v1alpha1.RolloutPaused:      {explain.Waiting, "atoll rollout resume app/shop --project demo"},
		v1alpha1.RolloutHalted:      {explain.Broken, "change the application, or: atoll rollout resume app/shop --project demo, or: atoll rollout abort app/shop --project demo"},
		v1alpha1.RolloutRolledBack:  {explain.Broken, "change the application, or try the same again: atoll rollout resume app/shop --project demo"},
	} {
		f := well("a", "b")
		f.Run = &v1alpha1.RolloutRun{ObjectMeta: metav1.ObjectMeta{Name: "shop-2"}}
		f.Run.Spec.Plan.Waves = []v1alpha1.RolloutWave{{Clusters: []string{"a"}}, {Clusters: []string{"b"}}}
		f.Run.Status = v1alpha1.RolloutRunStatus{Phase: phase, Started: 1, Message: "because"}
		chain := explain.Explain(f)
		if chain.First == nil || chain.First.Stage != explain.Rollout || chain.First.Outcome != want.outcome || chain.First.Do != want.do {
			t.Errorf("%s is told as %+v", phase, chain.First)
		}
	}
	f := well("a")
	f.Run = &v1alpha1.RolloutRun{Status: v1alpha1.RolloutRunStatus{Phase: v1alpha1.RolloutComplete}}
	if chain := explain.Explain(f); chain.First != nil {
		t.Errorf("a complete rollout is told as %+v", chain.First)
	}
}

// What waits for another application says so, and what waits for none of those
// that are elsewhere, too.
func TestADependencyIsToldWhereItHoldsAndWhereItDoesNot(t *testing.T) {
	f := well("a", "b")
	f.Clusters[0].Elsewhere = []string{"cache"}
	s := &f.Clusters[1].State
	s.Sync, s.Applied, s.Message = report.Progressing, 0, "0 of 12 objects applied; waits for app/db, which is not yet in sync and healthy here"
	chain := explain.Explain(f)
	if chain.First == nil || chain.First.Stage != explain.Apply || chain.First.Outcome != explain.Waiting || chain.First.Why != s.Message {
		t.Errorf("first %+v", chain.First)
	}
	for _, c := range chain.Clusters {
		if said := strings.Contains(c.Links[0].Why, "; it does not wait for app/cache, which the cluster is not asked to run"); said != (c.Cluster == "a") {
			t.Errorf("%s: %s", c.Cluster, c.Links[0].Why)
		}
	}
}

// A freeze is the first link, and no trouble unless a change waits for its end.
func TestAFreezeIsTheFirstLinkOfTheChain(t *testing.T) {
	f := well("a", "b")
	f.Frozen = &rollout.Frozen{Freeze: v1alpha1.Freeze{Reason: "audit"}, Scope: "project demo", Thaw: "atoll thaw project/demo"}
	hold := desired.Hold(f.Application)
	f.Clusters[0].Entry, f.Clusters[0].Want, f.Clusters[0].State.Entry = &hold, hold.Digest(), hold.Digest()
	chain := explain.Explain(f)
	if chain.First != nil || chain.Links[0].Stage != explain.Freeze || chain.Links[0].Do != "atoll thaw project/demo" {
		t.Errorf("%+v, first %+v", chain.Links[0], chain.First)
	}
	f.Application.Status.Conditions = append(f.Application.Status.Conditions, metav1.Condition{
		Type: v1alpha1.ConditionRolledOut, Status: metav1.ConditionFalse, Reason: v1alpha1.ConditionFrozen, ObservedGeneration: 3,
	})
	if chain := explain.Explain(f); chain.First == nil || chain.First.Stage != explain.Freeze || chain.First.Outcome != explain.Waiting {
		t.Errorf("a change waits, and it is told as %+v", chain.First)
	}
}

func TestTheFirstBrokenLinkIsNamed(t *testing.T) {
	tests := []struct {
		name    string
		change  func(f *explain.Facts)
		stage   explain.Stage
		cluster string
		outcome explain.Outcome
		why, do string
	}{
		{
			"the source was refused, and the last revision stays",
			func(f *explain.Facts) {
				refuse(f, v1alpha1.ConditionAccepted, "SourceRefused", "web.yaml, document 2 (line 14), Deployment/web: kind is missing; the last admitted revision stays")
			},
			explain.Source, "", explain.Broken, "document 2 (line 14)", "atoll deploy shop -f PATH --project demo",
		},
		{
			"the project forbids an object",
			func(f *explain.Facts) {
				refuse(f, v1alpha1.ConditionAccepted, "PolicyRefused", "project demo may not deliver ClusterRoleBinding.rbac.authorization.k8s.io/x")
			},
			explain.Source, "", explain.Broken, "may not deliver", "kubectl edit projects.atoll.dev demo",
		},
		{
			"the project does not exist",
			func(f *explain.Facts) { f.Project = nil },
			explain.Source, "", explain.Broken, "no project is named demo", "atoll apply -f",
		},
		{
			"the hub has not looked at the change yet",
			func(f *explain.Facts) { f.Application.Generation = 4 },
			explain.Source, "", explain.Waiting, "generation 4", "",
		},
		{
			"the content was lost from the hub's disk",
			func(f *explain.Facts) { f.Stored, f.StoreErr = false, "damaged on disk" },
			explain.Revision, "", explain.Broken, "damaged on disk", "atoll deploy shop -f PATH",
		},
		{
			"the record of the revision is gone",
			func(f *explain.Facts) { f.Revision = nil },
			explain.Revision, "", explain.Broken, "shop-1 is gone", "atoll deploy",
		},
		{
			"no cluster matches, and the nearest is named",
			func(f *explain.Facts) {
				f.Clusters = nil
				f.Decision = placement.Decision{Empty: true, Message: "no cluster matches", Why: map[string]placement.Verdict{
					"eu-1": {Cluster: "eu-1", Reason: placement.Cordoned, Message: "is cordoned"},
					"us-1": {Cluster: "us-1", Reason: placement.LabelsMismatch, Message: "has other labels", Also: []placement.Refusal{{}}},
				}}
			},
			explain.Placement, "", explain.Broken, "no cluster matches (nearest: eu-1: is cordoned)", "atoll explain app/shop --placement",
		},
		{
			"the only cluster is cordoned",
			func(f *explain.Facts) {
				f.Clusters = nil
				f.Decision = placement.Decision{Empty: true, Message: "no cluster matches", Why: map[string]placement.Verdict{
					"eu-1": {Cluster: "eu-1", Reason: placement.Cordoned, Message: "is cordoned"},
				}}
			},
			explain.Placement, "", explain.Broken, "is cordoned", "atoll uncordon eu-1",
		},
		{
			"the rule cannot be read",
			func(f *explain.Facts) { refuse(f, v1alpha1.ConditionPlaced, "InvalidPlacement", "where: syntax error") },
			explain.Placement, "", explain.Broken, "syntax error", "spec.placement",
		},
		{
			"the application says not where",
			func(f *explain.Facts) { f.Application.Spec.Placement, f.Clusters = nil, nil },
			explain.Placement, "", explain.Broken, "says not where", "--to",
		},
		{
			"a cluster is not connected",
			func(f *explain.Facts) {
				f.Clusters[1].Connection, f.Clusters[1].Heard = v1alpha1.Disconnected, now.Add(-4*time.Minute)
			},
			explain.Delivery, "two", explain.Broken, "not connected, last heard 4m ago; its agent keeps enforcing", "logs deploy/atoll-agent",
		},
		{
			"a cluster waits for acceptance",
			func(f *explain.Facts) { f.Clusters[1].Accepted = false },
			explain.Delivery, "two", explain.Broken, "not accepted", "atoll accept two",
		},
		{
			"the cluster was removed",
			func(f *explain.Facts) {
				f.Decision.Why["two"] = placement.Verdict{Cluster: "two", Reason: placement.NotFound}
				f.Clusters[1].Accepted = false
			},
			explain.Delivery, "two", explain.Broken, "removed from the hub; its workloads stay", "atoll join two",
		},
		{
			"the agent was never installed",
			func(f *explain.Facts) { f.Clusters[1].Connection, f.Clusters[1].Joined = v1alpha1.Pending, false },
			explain.Delivery, "two", explain.Broken, "no agent", "atoll join two",
		},
		{
			"the hub turns the agent away",
			func(f *explain.Facts) { f.Clusters[1].Refusal = "VersionSkew: the agent is too old" },
			explain.Delivery, "two", explain.Broken, "too old", "atoll describe cluster two",
		},
		{
			"the hub is older than the agent",
			func(f *explain.Facts) {
				trouble(f, report.Held, report.Problem{Reason: "HubOlderThanAgent", Message: "held"})
			},
			explain.Delivery, "two", explain.Broken, "knows less than the agent", "atoll accept two --incarnation",
		},
		{
			"the agent cannot get the content",
			func(f *explain.Facts) {
				trouble(f, report.Failed, report.Problem{Reason: "ContentMissing", Message: "the hub does not have sha256:ab"})
			},
			explain.Delivery, "two", explain.Broken, "does not have", "atoll deploy",
		},
		{
			"the change is on its way",
			func(f *explain.Facts) { f.Clusters[1].State.Entry, f.Clusters[1].Confirmed = "sha256:old", false },
			explain.Delivery, "two", explain.Waiting, "on its way", "",
		},
		{
			"the agent has the change and has not reported on it",
			func(f *explain.Facts) { f.Clusters[1].State.Entry = "sha256:old" },
			explain.Apply, "two", explain.Waiting, "not reported on the present revision", "",
		},
		{
			"another manager holds a field",
			func(f *explain.Facts) {
				trouble(f, report.Failed, report.Problem{Object: web, Reason: "Conflict", Message: "spec.replicas belongs to helm"})
			},
			explain.Apply, "two", explain.Broken, "Deployment.apps/web in shop: spec.replicas belongs to helm", "spec.adopt: true",
		},
		{
			"the member forbids it",
			func(f *explain.Facts) {
				trouble(f, report.Failed, report.Problem{Object: web, Reason: "Forbidden", Message: "cannot patch"})
			},
			explain.Apply, "two", explain.Broken, "11 of 12 objects applied; Forbidden", "atoll-project-demo",
		},
		{
			"another application owns the object",
			func(f *explain.Facts) {
				trouble(f, report.Held, report.Problem{Object: web, Reason: "OwnedBy", Message: "owned by app/other"})
			},
			explain.Apply, "two", explain.Broken, "owned by app/other", "one of the two applications",
		},
		{
			"a deletion is held",
			func(f *explain.Facts) {
				trouble(f, report.Held, report.Problem{Reason: "DeletionHeld", Message: "14 objects would go, more than 10"})
				f.Clusters[1].State.HeldDeletion = "sha256:list"
			},
			explain.Apply, "two", explain.Broken, "14 objects would go", "atoll allow-deletion app/shop --project demo",
		},
		{
			"others changed a field and it is only reported",
			func(f *explain.Facts) {
				f.Clusters[1].State.Sync = report.Drifted
				f.Clusters[1].State.Drift = []report.Change{{Object: web, Path: "spec.replicas", Manager: "kubectl-edit"}}
			},
			explain.Apply, "two", explain.Broken, "kubectl-edit changed spec.replicas of Deployment.apps/web in shop", "atoll diff app/shop -C two",
		},
		{
			"a workload does not work",
			func(f *explain.Facts) {
				s := &f.Clusters[1].State
				s.Health, s.Ready = report.HealthDegraded, 11
				s.Problems = []report.Problem{{Object: web, Reason: "Unhealthy", Message: "Progress deadline exceeded"}}
			},
			explain.Health, "two", explain.Broken, "11 of 12 objects ready; Deployment.apps/web in shop: Progress deadline exceeded", "atoll tree app/shop -C two",
		},
		{
			"what tries the content out has failed",
			func(f *explain.Facts) {
				f.Clusters[1].State.Verification = &report.Verification{Verdict: report.VerificationFailed, Object: web, Message: "the job failed"}
			},
			explain.Health, "two", explain.Broken, "12 of 12 objects ready; verification Failed: Deployment.apps/web in shop: the job failed", "atoll tree app/shop -C two",
		},
		{
			"what tries the content out is under way",
			func(f *explain.Facts) {
				f.Clusters[1].State.Verification = &report.Verification{Verdict: report.VerificationRunning, Object: web}
			},
			explain.Health, "two", explain.Waiting, "verification Running: Deployment.apps/web in shop", "",
		},
		{
			"a workload is starting",
			func(f *explain.Facts) { f.Clusters[1].State.Health = report.HealthProgressing },
			explain.Health, "two", explain.Waiting, "12 of 12", "",
		},
		{
			"the report is from before this hub",
			func(f *explain.Facts) { f.Clusters[1].FromTerm = false },
			explain.Health, "two", explain.Unknown, "before this hub started", "",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := well("one", "two", "three")
			tt.change(&f)
			c := explain.Explain(f)
			if c.First == nil {
				t.Fatalf("nothing is wrong: %+v", c)
			}
			got := []any{c.First.Stage, c.First.Cluster, c.First.Outcome}
			if diff := cmp.Diff([]any{tt.stage, tt.cluster, tt.outcome}, got); diff != "" {
				t.Errorf("first (-want +got):\n%s\n%+v", diff, c.First)
			}
			if !strings.Contains(c.First.Why, tt.why) || !strings.Contains(c.First.Do, tt.do) {
				t.Errorf("why: %s\ndo:  %s\nwant %q and %q", c.First.Why, c.First.Do, tt.why, tt.do)
			}
			if (tt.do == "") != (c.First.Do == "") {
				t.Errorf("do: %q", c.First.Do)
			}
			if !strings.Contains(c.Summary, string(tt.stage)) || c.Broken() != (tt.outcome == explain.Broken) {
				t.Errorf("summary: %s", c.Summary)
			}
		})
	}
}

func TestAllIsWell(t *testing.T) {
	c := explain.Explain(well("one", "two"))
	if c.First != nil || c.Summary != "demo/shop is in sync and healthy on 2 clusters" {
		t.Errorf("first %+v, summary %s", c.First, c.Summary)
	}
	var stages []explain.Stage
	for _, l := range append(c.Links, c.Clusters[0].Links...) {
		stages = append(stages, l.Stage)
	}
	want := []explain.Stage{explain.Source, explain.Revision, explain.Placement, explain.Rollout, explain.Desired, explain.Delivery, explain.Apply, explain.Health}
	if diff := cmp.Diff(want, stages); diff != "" {
		t.Errorf("stages (-want +got):\n%s", diff)
	}
	if why := c.Links[1].Why; !strings.HasPrefix(why, "shop-1 holds 12 objects, by ann, the values") {
		t.Errorf("whose it is: %s", why)
	}
	if why := c.Links[3].Why; !strings.HasPrefix(why, "a change reaches all 2 clusters at once") {
		t.Errorf("how a change would travel: %s", why)
	}
	if one := explain.Explain(well("one")); len(one.Links) != 3 {
		t.Errorf("one cluster is told of waves: %+v", one.Links)
	}
	data, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	var again explain.Chain
	if err := json.Unmarshal(data, &again); err != nil || cmp.Diff(c, again) != "" {
		t.Errorf("a chain changes on its way as JSON: %v %s", err, cmp.Diff(c, again))
	}
}

func TestWhatStaysIsToldAndIsNoTrouble(t *testing.T) {
	f := well("one")
	f.Clusters[0].State.Problems = []report.Problem{{Object: report.ObjectRef{Kind: "PersistentVolumeClaim", Name: "data"}, Reason: report.Kept, Message: "the claim stays"}}
	c := explain.Explain(f)
	told := slices.ContainsFunc(c.Clusters[0].Links, func(l explain.Link) bool {
		return l.Stage == explain.Apply && l.Outcome == explain.OK && strings.Contains(l.Why, "the claim stays")
	})
	if c.First != nil || !told {
		t.Errorf("first %+v; %+v", c.First, c.Clusters[0].Links)
	}
	f.Clusters[0].State.Sync, f.Clusters[0].State.Message = report.Failed, "something else"
	if c := explain.Explain(f); c.First == nil || !strings.Contains(c.First.Why, "something else") {
		t.Errorf("it hides another trouble: %+v", c.First)
	}
}

func TestAKilledClusterHasItsAgeAndNoFalseHealth(t *testing.T) {
	f := well("one")
	f.Clusters[0].Connection = v1alpha1.Disconnected
	f.Clusters[0].Heard, f.Clusters[0].Reported = now.Add(-3*time.Hour), now.Add(-3*time.Hour)
	c := explain.Explain(f)
	for _, l := range c.Clusters[0].Links {
		if l.Stage != explain.Apply && l.Stage != explain.Health {
			continue
		}
		if l.Outcome != explain.Unknown || !strings.Contains(l.Why, "3h ago") || !l.AsOf.Equal(f.Clusters[0].Reported) {
			t.Errorf("%s: %+v", l.Stage, l)
		}
	}
}

func TestOneClusterIsExplainedAlone(t *testing.T) {
	f := well("one", "two")
	f.Clusters[0].Connection = v1alpha1.Disconnected
	f.Only = "two"
	if c := explain.Explain(f); c.First != nil || len(c.Clusters) != 1 {
		t.Errorf("another cluster's trouble is shown: %+v", c)
	}
	f.Only = "three"
	f.Decision.Why["three"] = placement.Verdict{Cluster: "three", Reason: placement.NotAccepted, Message: "is not accepted yet"}
	c := explain.Explain(f)
	if c.First == nil || c.First.Stage != explain.Placement || c.First.Cluster != "three" || c.First.Do != "atoll accept three" {
		t.Errorf("a cluster that was not chosen: %+v", c.First)
	}
	f.Only = "nowhere"
	if c := explain.Explain(f); c.First == nil || !strings.Contains(c.First.Why, "no cluster is named nowhere") {
		t.Errorf("a cluster that does not exist: %+v", c.First)
	}
}

func TestSeveralClustersWithTheSameTroubleAreCounted(t *testing.T) {
	f := well("one", "two", "three")
	for i := range 2 {
		f.Clusters[i].Connection = v1alpha1.Disconnected
	}
	c := explain.Explain(f)
	if !strings.Contains(c.Summary, "is broken at Delivery on one and 1 more") {
		t.Errorf("summary: %s", c.Summary)
	}
}

// Whatever the facts are: health is claimed only on a current report over an
// open link, and a first trouble is named exactly when not all is OK.
func TestHealthIsNeverClaimedWithoutEvidence(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := well("one", "two")
		for i := range f.Clusters {
			c := &f.Clusters[i]
			c.Connection = rapid.SampledFrom([]v1alpha1.ConnectionState{v1alpha1.Connected, v1alpha1.Stale, v1alpha1.Disconnected, v1alpha1.Pending}).Draw(t, "connection")
			c.FromTerm = rapid.Bool().Draw(t, "term")
			c.Accepted, c.Joined, c.Confirmed = rapid.Bool().Draw(t, "accepted"), rapid.Bool().Draw(t, "joined"), rapid.Bool().Draw(t, "confirmed")
			c.State.Sync = rapid.SampledFrom([]report.Sync{"", report.InSync, report.Held, report.Failed, report.Drifted, report.Progressing}).Draw(t, "sync")
			c.State.Health = rapid.SampledFrom([]report.Health{report.HealthHealthy, report.HealthHealthy, report.HealthHealthy, report.HealthDegraded, ""}).Draw(t, "health")
			seldom := rapid.IntRange(0, 4)
			if seldom.Draw(t, "old") == 1 {
				c.State.Entry = "sha256:old"
			}
			if seldom.Draw(t, "silent") == 1 {
				c.Reported = time.Time{}
			}
			if seldom.Draw(t, "unasked") == 1 {
				c.Entry = nil
			}
		}
		c := explain.Explain(f)
		allOK := true
		check := func(links []explain.Link) {
			for _, l := range links {
				allOK = allOK && l.Outcome == explain.OK
				if l.Why == "" {
					t.Fatalf("%s says nothing", l.Stage)
				}
				if l.Outcome == explain.Broken && l.Do == "" {
					t.Fatalf("%s is broken and nothing is to be done: %s", l.Stage, l.Why)
				}
			}
		}
		check(c.Links)
		for _, chain := range c.Clusters {
			check(chain.Links)
			i := 0
			for f.Clusters[i].Cluster != chain.Cluster {
				i++
			}
			m, last := f.Clusters[i], chain.Links[len(chain.Links)-1]
			if last.Outcome == explain.OK && (m.Health() != report.HealthHealthy) {
				t.Fatalf("health is claimed for %+v", m)
			}
		}
		if allOK != (c.First == nil) {
			t.Fatalf("first trouble %+v", c.First)
		}
	})
}
