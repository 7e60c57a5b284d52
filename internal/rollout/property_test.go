package rollout_test

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"pgregory.net/rapid"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/report"
	"atoll.dev/atoll/internal/rollout"
)

// site is one cluster of a fleet that behaves at random: what it runs, and what
// the hub may believe of it.
type site struct {
	connected, gone bool
	// asked is the version it was asked for last; answered that its report
	// speaks of it; bad versions are those that do not work here.
	asked    v1alpha1.Version
	answered bool
	broken   bool
	// corrections are what a gate judges; silent tells that it says nothing of them.
	corrections int64
	silent      bool
	// verdict is what tries the target here; empty when nothing does.
	verdict report.Verdict
}

func (s *site) member(target v1alpha1.Version) rollout.Member {
	bad := s.broken && rollout.Same(s.asked, target)
	reading := &rollout.Reading{Report: rollout.ReportReading{Corrections: s.corrections}}
	if s.silent {
		reading = nil
	}
	var verification *report.Verification
	if s.connected && s.answered && s.verdict != "" && rollout.Same(s.asked, target) {
		verification = &report.Verification{Verdict: s.verdict}
	}
	return rollout.Member{
		Connected: s.connected, Gone: s.gone, Reading: reading, Verification: verification,
		Passed:  s.connected && s.answered && !bad,
		Failing: s.connected && s.answered && bad,
	}
}

type world struct {
	t     *rapid.T
	run   *v1alpha1.RolloutRun
	now   time.Time
	sites map[string]*site
	order []string
	most  int32
	// frozen is what the hub is told of a freeze.
	frozen string
	// windows are when it may tell anybody of the target.
	windows rollout.Windows
}

func drawWorld(t *rapid.T) *world {
	w := &world{t: t, now: noon, sites: map[string]*site{}}
	var clusters []rollout.Candidate
	var all []string
	for i := range rapid.IntRange(1, 12).Draw(t, "clusters") {
		c := rollout.Candidate{
			Name:      fmt.Sprintf("c%02d", i),
			Labels:    map[string]string{"tier": rapid.SampledFrom([]string{"edge", "core"}).Draw(t, "tier")},
			Connected: rapid.IntRange(0, 4).Draw(t, "connected") > 0,
		}
		clusters, all = append(clusters, c), append(all, c.Name)
		w.sites[c.Name] = &site{connected: c.Connected, answered: true, asked: version("a"), broken: rapid.IntRange(0, 9).Draw(t, "broken") == 0}
	}
	rules := drawRules(t)
	w.windows = drawWindows(t, &rules)
	plan, err := rollout.Begin(rollout.Request{
		Application: "shop", Rules: &rules, Target: version("b"), Clusters: clusters,
		Ran: []v1alpha1.VersionGroup{{Version: version("a"), Clusters: all}},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.run = &v1alpha1.RolloutRun{Spec: v1alpha1.RolloutRunSpec{Plan: plan}}
	for _, wave := range plan.Waves {
		w.order = append(w.order, wave.Clusters...)
	}
	return w
}

func drawRules(t *rapid.T) v1alpha1.Rollout {
	rules := v1alpha1.Rollout{OnFailure: rapid.SampledFrom([]v1alpha1.FailurePolicy{v1alpha1.Halt, v1alpha1.Rollback}).Draw(t, "onFailure")}
	for range rapid.IntRange(0, 4).Draw(t, "waves") {
		w := v1alpha1.Wave{Clusters: rapid.SampledFrom([]string{"", "", "tier=core"}).Draw(t, "selector")}
		switch rapid.IntRange(0, 2).Draw(t, "kind") {
		case 0:
			w.Share = fmt.Sprintf("%d%%", rapid.IntRange(1, 100).Draw(t, "share"))
		case 1:
			w.Count = number(rapid.Int32Range(1, 8).Draw(t, "count"))
		}
		if rapid.Bool().Draw(t, "soaks") {
			w.Soak = &metav1.Duration{Duration: time.Duration(rapid.IntRange(1, 120).Draw(t, "soak")) * time.Second}
		}
		w.Approval = rapid.IntRange(0, 4).Draw(t, "approval") == 0
		if rapid.IntRange(0, 3).Draw(t, "gated") == 0 {
			w.Gates = []v1alpha1.Gate{{Name: "calm", CEL: "report.corrections == 0"}}
		}
		rules.Waves = append(rules.Waves, w)
	}
	if rapid.Bool().Draw(t, "limited") {
		rules.MaxUnavailable = &intstr.IntOrString{IntVal: rapid.Int32Range(1, 3).Draw(t, "maxUnavailable")}
	}
	return rules
}

func drawWindows(t *rapid.T, rules *v1alpha1.Rollout) rollout.Windows {
	for range rapid.IntRange(0, 2).Draw(t, "windows") {
		rules.Windows = append(rules.Windows, v1alpha1.Window{
			Schedule: fmt.Sprintf("%d %s * * *", rapid.IntRange(0, 59).Draw(t, "minute"), rapid.SampledFrom([]string{"*", "12", "13-20"}).Draw(t, "hour")),
			Duration: metav1.Duration{Duration: time.Duration(rapid.IntRange(1, 90).Draw(t, "open")) * time.Minute},
			TimeZone: rapid.SampledFrom([]string{"", "Europe/Berlin"}).Draw(t, "zone"),
			Deny:     rapid.Bool().Draw(t, "deny"),
		})
	}
	windows, err := rollout.CompileWindows(rules)
	if err != nil {
		t.Fatal(err)
	}
	return windows
}

// look is one look of the hub, with everything that must hold of it.
func (w *world) look() {
	target := w.run.Spec.Plan.Target
	members := map[string]rollout.Member{}
	for name, s := range w.sites {
		members[name] = s.member(target)
	}
	seen := rollout.World{Now: w.now, Members: members, Frozen: w.frozen, Windows: w.windows}
	out := rollout.Step(w.run, seen)
	if again := rollout.Step(w.run, seen); !reflect.DeepEqual(out, again) {
		w.t.Fatalf("the same twice: %+v, %+v", out, again)
	}
	before := w.run.Status
	w.run.Status = out.Status
	w.check(before, members)
	course := rollout.NewCourse(w.run)
	for name, s := range w.sites {
		v := course.Version(name)
		if v == nil {
			w.t.Fatalf("%s has no version, and had one", name)
		}
		if !rollout.Same(*v, s.asked) {
			s.asked, s.answered = *v, false
		}
	}
}

func (w *world) check(before v1alpha1.RolloutRunStatus, members map[string]rollout.Member) {
	now, plan := w.run.Status, w.run.Spec.Plan
	if now.Started < before.Started || now.Wave < before.Wave {
		w.t.Fatalf("the run went back: %+v, then %+v", before, now)
	}
	if before.Phase.Final() && !reflect.DeepEqual(before, now) {
		w.t.Fatalf("a finished run changed: %+v", now)
	}
	if w.frozen != "" && (now.Started != before.Started || now.Wave != before.Wave || now.Phase.Final() != before.Phase.Final() || back(now) != back(before)) {
		w.t.Fatalf("a frozen run moved: %+v, then %+v", before, now)
	}
	if now.Started > before.Started {
		if !w.windows.Open(w.now) && int(w.run.Spec.Control.Promoted) <= int(before.Wave) {
			w.t.Fatalf("somebody was told at %s, and no window is open", w.now)
		}
		if w.run.Spec.Control.Paused {
			w.t.Fatal("a paused run told somebody")
		}
		for name, m := range members {
			begun := slices.Contains(w.order[:before.Started], name)
			if m.Failing && !m.Gone && begun {
				w.t.Fatalf("somebody was told while %s fails", name)
			}
			if disproved(m) && !m.Gone && begun && w.run.Spec.Control.Promoted == 0 {
				w.t.Fatalf("somebody was told although %s has failed its verification", name)
			}
		}
	}
	at, underWay := 0, 0
	for i, wave := range plan.Waves {
		for _, name := range wave.Clusters {
			told := at < int(now.Started)
			at++
			m := members[name]
			excused := m.Gone || slices.Contains(plan.Absent, name) && !m.Connected
			fresh := told && at > int(before.Started)
			if i < int(now.Wave) && i >= int(before.Wave) && (!told || fresh && !excused || !m.Passed && !excused) {
				w.t.Fatalf("wave %d was overtaken: %s had not passed", i, name)
			}
			open := len(wave.Gates) == 0 || m.Reading != nil && m.Reading.Report.Corrections == 0
			if i < int(now.Wave) && i >= int(before.Wave) && !open && !excused && int(w.run.Spec.Control.Promoted) <= i+1 {
				w.t.Fatalf("wave %d is over: %s passes no gate", i, name)
			}
			tried := m.Verification == nil || m.Verification.Verdict == report.VerificationPassed
			if i < int(now.Wave) && i >= int(before.Wave) && !tried && !excused && int(w.run.Spec.Control.Promoted) <= i+1 {
				w.t.Fatalf("wave %d is over: the verification of %s is not", i, name)
			}
			if i == int(now.Wave) && told && (fresh || !m.Passed) && !excused {
				underWay++
			}
		}
		if told := now.Started > int32(at-len(wave.Clusters)); told && wave.Approval && int(w.run.Spec.Control.Promoted) <= i {
			w.t.Fatalf("wave %d began without approval", i)
		}
	}
	if limit := plan.MaxUnavailable; limit != nil && now.Started > before.Started && underWay > limit.IntValue() {
		w.t.Fatalf("%d clusters are under way, %s may", underWay, limit)
	}
	if now.Phase == v1alpha1.RolloutComplete && before.Phase != now.Phase && int(now.Started) != len(w.order) {
		w.t.Fatal("complete, and not everybody was told")
	}
	w.most = max(w.most, now.Started)
}

func disproved(m rollout.Member) bool {
	return m.Verification != nil && m.Verification.Verdict == report.VerificationFailed
}

func back(s v1alpha1.RolloutRunStatus) bool { return s.Phase == v1alpha1.RolloutRollingBack }

// happen is one thing that comes to pass in the world.
func (w *world) happen() {
	name := rapid.SampledFrom(w.order).Draw(w.t, "who")
	s := w.sites[name]
	switch rapid.IntRange(0, 11).Draw(w.t, "what") {
	case 0, 1, 2:
		s.answered = s.answered || s.connected
	case 3:
		s.connected = !s.connected
		s.answered = false
	case 4:
		s.broken = !s.broken
	case 5:
		w.now = w.now.Add(time.Duration(rapid.IntRange(1, 900).Draw(w.t, "seconds")) * time.Second)
	case 6:
		w.run.Spec.Control.Paused = !w.run.Spec.Control.Paused
	case 7:
		w.run.Spec.Control.Promoted = min(w.run.Spec.Control.Promoted+1, int32(len(w.run.Spec.Plan.Waves)))
	case 8:
		s.gone = s.gone || rapid.IntRange(0, 5).Draw(w.t, "leaves") == 0
		if rapid.IntRange(0, 5).Draw(w.t, "resumes") == 0 {
			w.run.Spec.Control.Resumed++
		}
	case 10:
		s.corrections, s.silent = int64(rapid.IntRange(0, 1).Draw(w.t, "corrections")), rapid.Bool().Draw(w.t, "silent")
	case 11:
		s.verdict = rapid.SampledFrom([]report.Verdict{"", report.VerificationRunning, report.VerificationPassed, report.VerificationFailed}).Draw(w.t, "verdict")
	case 9:
		w.frozen = map[string]string{"": "everything is frozen", "everything is frozen": ""}[w.frozen]
	}
}

func TestWhateverHappensNoWaveIsOvertakenAndEveryRunEnds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		for range rapid.IntRange(0, 60).Draw(t, "events") {
			w.happen()
			w.look()
		}
		// From here on the world is kind: everybody answers, nothing is broken,
		// people approve and resume. Then the run must end, and not with silence.
		w.run.Spec.Control.Paused, w.frozen = false, ""
		w.run.Spec.Control.Promoted = int32(len(w.run.Spec.Plan.Waves))
		for range 40 + 8*len(w.order) {
			if w.run.Status.Phase.Final() {
				break
			}
			if w.run.Status.Phase == v1alpha1.RolloutHalted {
				w.run.Spec.Control.Resumed++
			}
			for _, s := range w.sites {
				s.connected, s.broken, s.answered, s.corrections, s.silent = true, false, true, 0, false
				if s.verdict != "" {
					s.verdict = report.VerificationPassed
				}
			}
			w.now = w.now.Add(2 * time.Minute)
			w.look()
		}
		if !w.run.Status.Phase.Final() {
			t.Fatalf("the run does not end: %+v", w.run.Status)
		}
	})
}
