package cli

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/fleet"
	"atoll.dev/atoll/internal/plan"
	"atoll.dev/atoll/internal/report"
)

// aPlan has one of everything that a plan can say.
func aPlan() *fleet.PlanAnswer {
	old := report.ObjectRef{Version: "v1", Kind: "ConfigMap", Namespace: "shop", Name: "old"}
	secret := report.ObjectRef{Version: "v1", Kind: "Secret", Namespace: "shop", Name: "db"}
	role := report.ObjectRef{Group: "rbac.authorization.k8s.io", Version: "v1", Kind: "ClusterRole", Name: "root"}
	budget := report.ObjectRef{Group: "policy", Version: "v1beta1", Kind: "PodDisruptionBudget", Namespace: "shop", Name: "web"}
	return &fleet.PlanAnswer{
		Plans: []plan.Plan{{
			Project: "demo", Application: "shop", Unchanged: 2, Placement: "5 of 7 clusters match", Waits: "project demo is frozen until 2026-03-02 16:00 UTC: release week", Gained: []string{"us-2"}, Lost: []string{"eu-9"},
			Classes: []plan.Class{
				{
					Effect: plan.EffectChange, Clusters: []string{"eu-1", "eu-2"}, From: "shop-aaaaaaaaaaaa", To: "shop-bbbbbbbbbbbb",
					Deleted: 1, Changed: 2, Created: 1, HeldCount: 1, Held: "one sync may delete 0",
					Objects: []plan.Object{
						{Ref: old, Action: plan.Delete},
						{Ref: deploymentWeb, Action: plan.Change, FieldCount: 3, Fields: []plan.Field{
							{Path: "spec.replicas", Old: 2, New: 3}, {Path: "spec.template.spec.containers[name=web].image", Old: "web:1", New: "web:2"},
						}},
						{Ref: secret, Action: plan.Change, FieldCount: 1, Fields: []plan.Field{{Path: "data.password", Old: "(hidden)", New: "(hidden)"}}},
					},
					Settings: []plan.Field{{Path: "driftMode", Old: "Correct", New: "Report"}},
				},
				{Effect: plan.EffectOrphan, Clusters: []string{"eu-9"}, From: "shop-aaaaaaaaaaaa"},
				{Effect: plan.EffectDeliver, Clusters: []string{"us-2"}, To: "shop-bbbbbbbbbbbb", Created: 1, Objects: []plan.Object{{Ref: deploymentWeb, Action: plan.Create}}},
			},
			Held:     &plan.Held{Clusters: []string{"us-3", "us-4"}, Message: "us-3, us-4 no longer match and would delete what shop runs there"},
			Refusals: []plan.Refusal{{Reason: "ClusterScoped", Message: "the kind belongs to the whole cluster", Object: &role, Clusters: []string{"eu-5"}}},
			APIs: []plan.API{
				{Level: plan.Missing, Version: "policy/v1beta1", Kind: "PodDisruptionBudget", Message: "Kubernetes serves it no more since 1.25", Clusters: []string{"eu-1"}, Objects: []report.ObjectRef{budget}},
				{Level: plan.Deprecated, Version: "policy/v1beta1", Kind: "PodDisruptionBudget", Message: "it is deprecated since Kubernetes 1.21", Clusters: []string{"eu-2"}, Objects: []report.ObjectRef{budget}},
			},
			Rollout: &plan.Rollout{OnFailure: v1alpha1.Halt, Absent: []string{"eu-2"}, Waves: []v1alpha1.RolloutWave{
				{Clusters: []string{"eu-1"}, Soak: metav1.Duration{Duration: 15 * time.Minute}}, {Clusters: []string{"eu-2", "us-2"}, Approval: true, Gates: []v1alpha1.Gate{{Name: "errors"}}},
			}},
			Policies: []plan.Broken{
				{Policy: "no-host-access", Binding: "no-host-access", Severity: "critical", Effect: "Deny", Ref: report.ObjectRef{Group: "apps", Version: "v1", Kind: "Deployment", Namespace: "shop", Name: "web"}, Message: "privileged containers: web", Clusters: []string{"eu-1", "eu-2"}},
				{Policy: "requests-set", Severity: "low", Effect: "Warn", Ref: report.ObjectRef{Group: "apps", Version: "v1", Kind: "Deployment", Namespace: "shop", Name: "web"}, Message: "no requests for CPU or memory: web", Clusters: []string{"eu-1"}},
			},
			Live: []plan.Finding{
				{Kind: plan.FoundConflict, Ref: deploymentWeb, Clusters: []string{"us-2"}, Message: "it is there already, by kubectl, and not Atoll's: it is refused where it says otherwise; spec.adopt takes it over"},
				{Kind: plan.FoundOwned, Ref: old, Clusters: []string{"us-2"}, Message: "application demo/old keeps it there"},
				{Kind: plan.FoundAdoption, Ref: secret, Clusters: []string{"us-2"}, Message: "it is there already, and would be taken over"},
				{Kind: plan.FoundMissing, Ref: old, Clusters: []string{"eu-1"}, Message: "it is gone already"},
				{Kind: plan.FoundDrift, Ref: deploymentWeb, Clusters: []string{"eu-1", "eu-2"}, Changes: []report.Change{{Path: "spec.replicas", Old: "5", New: "2", Manager: "kubectl-scale"}}},
			},
			Unknown: []plan.Unknown{{Clusters: []string{"us-7"}, Message: "the hub asks it to keep what it has, and does not know now what that is"}},
		}},
		Unknown: []plan.Unknown{{Message: "project bank is not yours to plan for"}},
	}
}

func TestAPlanOnAPage(t *testing.T) {
	var b strings.Builder
	if err := writePlans(&b, aPlan(), view{width: 100, now: now}); err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(b.String(), "\n") {
		if utf8.RuneCountInString(line) > 100 || strings.TrimRight(line, " ") != line {
			t.Errorf("too wide, or blanks at the end: %q", line)
		}
	}
	golden(t, "plan", b.String())
}

func TestTheVerdictOfAPlan(t *testing.T) {
	unknown := []plan.Unknown{{Message: "why"}}
	for name, tt := range map[string]struct {
		answer fleet.PlanAnswer
		code   int
	}{
		"nothing would change":                    {fleet.PlanAnswer{Plans: []plan.Plan{{Unchanged: 3}}}, exitOK},
		"something would":                         {*aPlan(), exitNo},
		"nothing would, but a member has drifted": {fleet.PlanAnswer{Plans: []plan.Plan{{Live: []plan.Finding{{}}}}}, exitNo},
		"it would be refused":                     {fleet.PlanAnswer{Plans: []plan.Plan{{Refusals: []plan.Refusal{{}}}}}, exitNo},
		"a part of it is not known":               {fleet.PlanAnswer{Plans: []plan.Plan{{Unknown: unknown}}}, exitPartial},
		"a project cannot be looked into":         {fleet.PlanAnswer{Unknown: unknown}, exitPartial},
		"changes, and a part is not known":        {fleet.PlanAnswer{Plans: []plan.Plan{{Held: &plan.Held{}}}, Unknown: unknown}, exitNo},
	} {
		if got := codeOf(verdict(&tt.answer)); got != tt.code {
			t.Errorf("%s: %d, not %d", name, got, tt.code)
		}
	}
}

// What the SARIF 2.1.0 schema requires of a log, a run, a tool and a result, and
// what those who show findings need beside it.
func TestFindingsAreSARIF(t *testing.T) {
	var b strings.Builder
	if err := writeSARIF(&b, aPlan(), "fleet/shop.yaml"); err != nil {
		t.Fatal(err)
	}
	var log struct {
		Schema  string `json:"$schema"`
		Version string
		Runs    []struct {
			Tool struct {
				Driver struct {
					Name  string
					Rules []struct{ ID string }
				}
			}
			Results []struct {
				RuleID, Level string
				Message       struct{ Text string }
				Locations     []struct {
					PhysicalLocation struct {
						ArtifactLocation struct{ URI string }
						Region           struct{ StartLine int }
					}
					LogicalLocations []struct{ FullyQualifiedName string }
				}
			}
		}
	}
	if err := json.Unmarshal([]byte(b.String()), &log); err != nil {
		t.Fatal(err)
	}
	if log.Version != "2.1.0" || !strings.HasSuffix(log.Schema, "/sarif-schema-2.1.0.json") || len(log.Runs) != 1 || log.Runs[0].Tool.Driver.Name == "" {
		t.Fatalf("the head is %+v", log)
	}
	rules, levels := map[string]bool{}, map[string]bool{"none": true, "note": true, "warning": true, "error": true}
	for _, r := range log.Runs[0].Tool.Driver.Rules {
		rules[r.ID] = true
	}
	found := map[string]string{}
	for _, r := range log.Runs[0].Results {
		if !rules[r.RuleID] || !levels[r.Level] || r.Message.Text == "" || len(r.Locations) != 1 {
			t.Errorf("a result is %+v", r)
			continue
		}
		at := r.Locations[0]
		if at.PhysicalLocation.ArtifactLocation.URI != "fleet/shop.yaml" || at.PhysicalLocation.Region.StartLine < 1 || len(at.LogicalLocations) != 1 {
			t.Errorf("%s is at %+v", r.RuleID, at)
		}
		found[r.RuleID] = r.Level
	}
	for rule, level := range map[string]string{
		"deletion": "warning", "cluster-left": "warning", "leaving-held": "warning", "refused": "error",
		"api-missing": "error", "api-deprecated": "warning", "unknown": "note",
		"live-conflict": "error", "live-adoption": "warning", "live-missing": "warning", "live-drift": "warning",
	} {
		if found[rule] != level {
			t.Errorf("%s is told as %q, not %q", rule, found[rule], level)
		}
	}
}
