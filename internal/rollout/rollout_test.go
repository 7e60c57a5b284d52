package rollout_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/rollout"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func version(letter string) v1alpha1.Version {
	return v1alpha1.Version{Digest: "sha256:" + strings.Repeat(letter, 64)}
}

func fleet(n int) []rollout.Candidate {
	var clusters []rollout.Candidate
	for i := range n {
		clusters = append(clusters, rollout.Candidate{Name: fmt.Sprintf("c%02d", i+1), Connected: true})
	}
	return clusters
}

func wavesOf(t *testing.T, rules []v1alpha1.Wave, clusters []rollout.Candidate) [][]string {
	t.Helper()
	waves, err := rollout.Waves(rules, clusters)
	if err != nil {
		t.Fatal(err)
	}
	var out [][]string
	for _, w := range waves {
		out = append(out, w.Clusters)
	}
	return out
}

func number(n int32) *int32 { return &n }

func TestWavesDealEveryClusterOutOnce(t *testing.T) {
	labelled := fleet(8)
	for i := range labelled {
		labelled[i].Labels = map[string]string{"tier": []string{"edge", "core"}[i%2]}
	}
	labelled[0].Connected = false
	for _, tc := range []struct {
		name  string
		rules []v1alpha1.Wave
		on    []rollout.Candidate
		want  [][]string
	}{
		{"one, a quarter, the rest", rollout.DefaultWaves(), fleet(8), [][]string{{"c01"}, {"c02"}, {"c03", "c04", "c05", "c06", "c07", "c08"}}},
		{"on two clusters a quarter is nobody more", rollout.DefaultWaves(), fleet(2), [][]string{{"c01"}, {"c02"}}},
		{"one cluster is one wave", rollout.DefaultWaves(), fleet(1), [][]string{{"c01"}}},
		{"no cluster is no wave", rollout.DefaultWaves(), nil, nil},
		{"the connected lead", rollout.DefaultWaves(), labelled, [][]string{{"c02"}, {"c03"}, {"c04", "c05", "c06", "c07", "c08", "c01"}}},
		{"a selector, and who is in none comes last", []v1alpha1.Wave{{Clusters: "tier=core"}}, labelled, [][]string{{"c02", "c04", "c06", "c08"}, {"c03", "c05", "c07", "c01"}}},
		{"a share of a selector", []v1alpha1.Wave{{Clusters: "tier=core", Share: "25%"}, {Clusters: "tier=core"}}, labelled, [][]string{{"c02"}, {"c04", "c06", "c08"}, {"c03", "c05", "c07", "c01"}}},
		{"counts say how far it reached", []v1alpha1.Wave{{Count: number(2)}, {Count: number(5)}, {Count: number(5)}}, fleet(6), [][]string{{"c01", "c02"}, {"c03", "c04", "c05"}, {"c06"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, wavesOf(t, tc.rules, tc.on)); diff != "" {
				t.Error(diff)
			}
		})
	}
	if _, err := rollout.Waves([]v1alpha1.Wave{{Clusters: "tier in ("}}, fleet(1)); err == nil || !strings.Contains(err.Error(), "wave 1") {
		t.Errorf("a selector that is none: %v", err)
	}
}

// scene is a fleet that one run changes, told step by step.
type scene struct {
	t       *testing.T
	run     *v1alpha1.RolloutRun
	now     time.Time
	members map[string]rollout.Member
	paused  bool
	frozen  string
	windows rollout.Windows
	trace   strings.Builder
}

func newScene(t *testing.T, rules v1alpha1.Rollout, clusters []rollout.Candidate) *scene {
	t.Helper()
	var all []string
	s := &scene{t: t, now: noon, members: map[string]rollout.Member{}}
	for _, c := range clusters {
		all = append(all, c.Name)
		s.members[c.Name] = rollout.Member{Connected: c.Connected}
	}
	slices.Sort(all)
	plan, err := rollout.Begin(rollout.Request{
		Application: "shop", Rules: &rules, Target: version("b"), Clusters: clusters, Cause: "a test",
		Ran: []v1alpha1.VersionGroup{{Version: version("a"), Clusters: all}},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.run = &v1alpha1.RolloutRun{Spec: v1alpha1.RolloutRunSpec{Plan: plan}}
	return s
}

// step lets the hub look once, and writes down what it saw and did.
func (s *scene) step() rollout.Outcome {
	out := rollout.Step(s.run, rollout.World{Now: s.now, Members: s.members, Paused: s.paused, Frozen: s.frozen, Windows: s.windows})
	told := s.run.Status.Started
	s.run.Status = out.Status
	fmt.Fprintf(&s.trace, "%6s  %-11s wave %-4s %s  %s\n", s.now.Sub(noon), out.Status.Phase, out.Status.Waves, s.picture(), out.Status.Message)
	var all []string
	for _, wave := range s.run.Spec.Plan.Waves {
		all = append(all, wave.Clusters...)
	}
	for _, name := range all[told:out.Status.Started] { // they hear of it, and have not answered
		m := s.members[name]
		m.Passed, m.Failing, m.Verification = false, false, nil
		s.members[name] = m
	}
	return out
}

// picture is one letter a cluster: what it is to run, capital when it passed,
// "!" when it fails, "." when it is not heard.
func (s *scene) picture() string {
	course := rollout.NewCourse(s.run)
	var b strings.Builder
	for i, wave := range s.run.Spec.Plan.Waves {
		if i > 0 {
			b.WriteByte('|')
		}
		for _, name := range wave.Clusters {
			m, v := s.members[name], course.Version(name)
			switch {
			case !m.Connected:
				b.WriteByte('.')
			case m.Failing:
				b.WriteByte('!')
			case v == nil:
				b.WriteByte('-')
			case m.Passed:
				b.WriteString(strings.ToUpper(rollout.ContentOf(*v)[7:8]))
			default:
				b.WriteString(rollout.ContentOf(*v)[7:8])
			}
		}
	}
	return b.String()
}

func (s *scene) note(format string, args ...any) {
	fmt.Fprintf(&s.trace, "        -- "+format+"\n", args...)
}

func (s *scene) after(d time.Duration) { s.now = s.now.Add(d) }

func (s *scene) set(m rollout.Member, clusters ...string) {
	for _, name := range clusters {
		s.members[name] = m
	}
}

func (s *scene) pass(clusters ...string) {
	s.set(rollout.Member{Connected: true, Passed: true}, clusters...)
}

func (s *scene) fail(why string, clusters ...string) {
	s.set(rollout.Member{Connected: true, Failing: true, Why: why}, clusters...)
}

func (s *scene) golden(name string) {
	s.t.Helper()
	file := filepath.Join("testdata", name+".trace")
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(file, []byte(s.trace.String()), 0o644); err != nil {
			s.t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		s.t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), s.trace.String()); diff != "" {
		s.t.Errorf("UPDATE_GOLDEN=1 writes it anew:\n%s", diff)
	}
}

func soak(d time.Duration) *metav1.Duration { return &metav1.Duration{Duration: d} }

func TestAGoodChangeGoesThrough(t *testing.T) {
	s := newScene(t, v1alpha1.Rollout{Waves: []v1alpha1.Wave{{Count: number(1), Soak: soak(time.Minute)}, {Share: "50%"}, {Share: "100%"}}}, fleet(6))
	s.step()
	s.after(2 * time.Second)
	s.pass("c01")
	s.step()
	s.after(time.Minute)
	s.step()
	s.after(time.Second)
	s.pass("c02")
	s.step()
	s.pass("c03")
	s.step()
	s.after(time.Second)
	s.pass("c04", "c05", "c06")
	s.step()
	s.golden("good")
}

func TestAFailedCanaryTakesTheChangeBack(t *testing.T) {
	s := newScene(t, v1alpha1.Rollout{OnFailure: v1alpha1.Rollback}, fleet(6))
	s.step()
	s.after(3 * time.Second)
	s.note("a pod restarts once, and is well again: that is no failure")
	s.fail("deployment.apps/web in shop: pod web-1 restarts", "c01")
	s.step()
	s.after(5 * time.Second)
	s.pass("c01")
	s.step()
	s.after(time.Second)
	s.note("the next one crashes and goes on crashing")
	s.fail("deployment.apps/web in shop: pod web-2 crashes", "c02")
	s.step()
	s.after(rollout.Confirm)
	s.step()
	s.note("both are asked for what they ran before")
	s.set(rollout.Member{Connected: true}, "c01", "c02")
	s.after(time.Second)
	s.step()
	s.after(2 * time.Second)
	s.pass("c01", "c02")
	s.step()
	s.golden("rollback")
}

func TestAHaltedChangeGoesOnWhenItIsTold(t *testing.T) {
	s := newScene(t, v1alpha1.Rollout{MaxUnavailable: &intstr.IntOrString{IntVal: 1}, Waves: []v1alpha1.Wave{{Share: "100%"}}}, fleet(3))
	s.step()
	s.after(time.Second)
	s.pass("c01")
	s.step()
	s.after(time.Second)
	s.fail("image not found", "c02")
	s.step()
	s.after(rollout.Confirm)
	s.step()
	s.after(time.Hour)
	s.note("it is well by itself, and still nothing goes on unasked")
	s.pass("c02")
	s.step()
	s.note("atoll rollout resume")
	s.run.Spec.Control.Resumed = 1
	s.step()
	s.after(time.Second)
	s.pass("c03")
	s.step()
	s.golden("halt")
}

func TestSilenceIsNeverHealth(t *testing.T) {
	clusters := fleet(4)
	clusters[3].Connected = false
	s := newScene(t, v1alpha1.Rollout{Waves: []v1alpha1.Wave{{Share: "50%"}, {Share: "100%"}}}, clusters)
	s.note("c04 is away from the beginning")
	s.step()
	s.after(time.Second)
	s.pass("c01", "c02")
	s.step()
	s.after(time.Second)
	s.note("c03 was told, and is not heard any more: that may be the change's doing")
	s.set(rollout.Member{}, "c03")
	s.step()
	s.after(rollout.DefaultDeadline)
	s.step()
	s.note("c03 comes back and is well; a person lets it go on; c04 takes it up when it returns")
	s.pass("c03")
	s.run.Spec.Control.Resumed = 1
	s.step()
	s.golden("silence")
}

func TestNothingIsProvenByClustersThatAreAway(t *testing.T) {
	clusters := fleet(3)
	for i := range clusters {
		clusters[i].Connected = false
	}
	s := newScene(t, v1alpha1.Rollout{}, clusters)
	s.step()
	s.after(24 * time.Hour)
	s.step()
	s.note("the canary returns")
	s.set(rollout.Member{Connected: true}, "c01")
	s.step()
	s.after(time.Second)
	s.pass("c01")
	s.step()
	s.golden("away")
}

func TestAWaveWaitsForApprovalAndPauses(t *testing.T) {
	s := newScene(t, v1alpha1.Rollout{Waves: []v1alpha1.Wave{{Count: number(1), Soak: soak(time.Hour)}, {Share: "100%", Approval: true}}}, fleet(3))
	s.step()
	s.after(time.Second)
	s.pass("c01")
	s.step()
	s.note("atoll rollout promote: no more soaking, and the second wave is approved")
	s.run.Spec.Control.Promoted = 2
	s.paused = true
	s.step()
	s.note("the application was paused; it is not any more")
	s.paused = false
	s.step()
	s.note("atoll rollout abort")
	s.run.Spec.Control.Aborted = true
	s.step()
	s.pass("c01", "c02", "c03")
	s.after(time.Second)
	s.step()
	s.golden("approval")
}

func TestAClusterThatHadNothingKeepsWhatItGot(t *testing.T) {
	run := &v1alpha1.RolloutRun{
		Spec: v1alpha1.RolloutRunSpec{Plan: v1alpha1.RolloutPlan{
			Target: version("b"), Waves: []v1alpha1.RolloutWave{{Clusters: []string{"new", "old", "later"}}},
			Before: []v1alpha1.VersionGroup{{Version: version("a"), Clusters: []string{"old", "later"}}},
		}},
		Status: v1alpha1.RolloutRunStatus{Phase: v1alpha1.RolloutRolledBack, Started: 2},
	}
	course := rollout.NewCourse(run)
	a, b := version("a"), version("b")
	for name, want := range map[string]*v1alpha1.Version{"new": &b, "old": &a, "later": &a, "stranger": nil} {
		if diff := cmp.Diff(want, course.Version(name)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestTheNextRunStartsFromWhereTheLastOneWas(t *testing.T) {
	s := newScene(t, v1alpha1.Rollout{}, fleet(3))
	s.step()
	s.run.Status.Phase = v1alpha1.RolloutSuperseded
	clusters := append(fleet(3), rollout.Candidate{Name: "c99", Connected: true})
	plan, err := rollout.Begin(rollout.Request{Application: "shop", Target: version("c"), Last: s.run, Clusters: clusters})
	if err != nil {
		t.Fatal(err)
	}
	a := version("a")
	want := v1alpha1.RolloutPlan{
		Application: "shop", Number: 2, Target: version("c"), Stable: &a,
		Before: []v1alpha1.VersionGroup{
			{Version: version("b"), Clusters: []string{"c01"}},
			{Version: version("a"), Clusters: []string{"c02", "c03", "c99"}},
		},
		Waves:            []v1alpha1.RolloutWave{{Clusters: []string{"c01", "c02", "c03", "c99"}}},
		ProgressDeadline: metav1.Duration{Duration: rollout.DefaultDeadline}, OnFailure: v1alpha1.Halt,
	}
	if diff := cmp.Diff(want, plan); diff != "" {
		t.Error(diff)
	}
}
