package rollout_test

import (
	"strings"
	"testing"
	"time"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/rollout"
)

// reads has clusters pass with what a gate judges.
func (s *scene) reads(r rollout.ReportReading, clusters ...string) {
	for _, name := range clusters {
		s.members[name] = rollout.Member{Connected: true, Passed: true, Reading: &rollout.Reading{
			Cluster: rollout.ClusterReading{Name: name, Labels: map[string]string{"tier": "core"}}, Report: r,
		}}
	}
}

func TestAWaveIsOverWhenItsGatesPassOnEveryCluster(t *testing.T) {
	s := newScene(t, v1alpha1.Rollout{OnFailure: v1alpha1.Rollback, Waves: []v1alpha1.Wave{
		{Count: number(2), Soak: soak(time.Minute), Gates: []v1alpha1.Gate{{Name: "calm", CEL: "report.corrections == 0 || cluster.labels['tier'] == 'lab'"}}},
		{Count: number(4), Gates: []v1alpha1.Gate{{Name: "known", CEL: "report.assumed == 0"}}},
		{Share: "100%"},
	}}, fleet(5))
	s.step()
	s.after(time.Second)
	s.reads(rollout.ReportReading{Corrections: 3}, "c01")
	s.reads(rollout.ReportReading{}, "c02")
	s.step()
	s.after(time.Minute)
	s.note("the wave has soaked, and on c01 somebody works against it")
	s.step()
	s.after(5 * time.Minute)
	s.note("one that says nothing passes no gate either")
	s.reads(rollout.ReportReading{}, "c01")
	s.set(rollout.Member{Connected: true, Passed: true}, "c02")
	s.step()
	s.note("both say that all is calm")
	s.reads(rollout.ReportReading{}, "c01", "c02")
	s.step()
	s.after(time.Second)
	s.note("the next gate never passes: that is a failure")
	s.reads(rollout.ReportReading{Assumed: 1}, "c03", "c04")
	s.step()
	s.after(rollout.DefaultDeadline)
	s.step()
	s.golden("gate")
}

func TestPromoteGoesOnWithoutAGate(t *testing.T) {
	s := newScene(t, v1alpha1.Rollout{Waves: []v1alpha1.Wave{{Count: number(1), Gates: []v1alpha1.Gate{{Name: "never", CEL: "false"}}}, {Share: "100%"}}}, fleet(2))
	s.step()
	s.pass("c01")
	if out := s.step(); out.Status.Started != 1 {
		t.Fatalf("%+v", out.Status)
	}
	s.run.Spec.Control.Promoted = 2
	if out := s.step(); out.Status.Started != 2 {
		t.Errorf("%+v", out.Status)
	}
}

func TestAGateThatCannotBeReadIsRefused(t *testing.T) {
	for word, source := range map[string]string{
		"undefined field": "report.redy == report.objects",
		"not true or":     "report.ready",
		"Syntax error":    "report.ready ==",
		"undeclared":      "object.status",
	} {
		if _, err := rollout.CompileGate(v1alpha1.Gate{Name: "g", CEL: source}); err == nil || !strings.Contains(err.Error(), word) || !strings.Contains(err.Error(), "gate g") {
			t.Errorf("%s: %v", source, err)
		}
	}
}

func TestAGateThatCannotBeEvaluatedDoesNotPass(t *testing.T) {
	for _, source := range []string{"cluster.labels['absent'] == 'x'", "1 / report.ready > 0", "'x'.replace('x', '" + strings.Repeat("y", 2000) + "').replace('y', '" + strings.Repeat("z", 9) + "') == ''"} {
		gate, err := rollout.CompileGate(v1alpha1.Gate{Name: "g", CEL: source})
		if err != nil {
			t.Fatal(err)
		}
		if gate.Refuse(&rollout.Reading{}, noon) == nil {
			t.Errorf("%s passes", source)
		}
	}
	gate, err := rollout.CompileGate(v1alpha1.Gate{Name: "g", CEL: "true"})
	if err != nil {
		t.Fatal(err)
	}
	if gate.Refuse(nil, noon) == nil {
		t.Error("silence passes")
	}
}

func TestANumberCountsThatWasAskedForSinceTheWaveWasWell(t *testing.T) {
	gate, err := rollout.CompileGate(v1alpha1.Gate{Name: "errors", CEL: "value < 0.01", Prometheus: &v1alpha1.PrometheusQuery{URL: "http://prometheus", Query: "x"}})
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		metrics map[string]rollout.Metric
		refused string
	}{
		"none was asked for": {nil, "is being asked for"},
		"another gate's":     {map[string]rollout.Metric{"latency": {At: noon}}, "is being asked for"},
		"one from before":    {map[string]rollout.Metric{"errors": {At: noon.Add(-time.Second)}}, "is being asked for"},
		"the server is away": {map[string]rollout.Metric{"errors": {At: noon, Refused: "connection refused"}}, "connection refused"},
		"it is too high":     {map[string]rollout.Metric{"errors": {At: noon, Value: 0.5}}, "value < 0.01 does not hold, with value 0.5"},
		"it is low":          {map[string]rollout.Metric{"errors": {At: noon, Value: 0.001}}, ""},
	} {
		err := gate.Refuse(&rollout.Reading{Metrics: tc.metrics}, noon)
		if (err == nil) != (tc.refused == "") || err != nil && !strings.Contains(err.Error(), tc.refused) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := rollout.CompileGate(v1alpha1.Gate{Name: "g", CEL: "value < 1"}); err == nil {
		t.Error("a value that nothing asks for")
	}
}
