package application

import (
	"context"
	"errors"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/rollout"
)

func TestAMetricIsAskedForBesideTheLoopAndAgainWhenItIsOld(t *testing.T) {
	now, told, queries := time.Now(), make(chan types.NamespacedName), make(chan string)
	var failure error
	m := &Metrics{
		Ask: func(_ context.Context, _, query string) (float64, error) {
			queries <- query
			return 7, failure
		},
		Tell: func(app types.NamespacedName) { told <- app }, Now: func() time.Time { return now },
	}
	r := &Intent{Metrics: m}
	app := types.NamespacedName{Namespace: "demo", Name: "web"}
	run := &v1alpha1.RolloutRun{}
	run.Spec.Plan.Waves = []v1alpha1.RolloutWave{{Clusters: []string{"eu", "us", "ill"}, Gates: []v1alpha1.Gate{
		{Name: "own", CEL: "true"}, {Name: "errors", CEL: "value == 7.0", Prometheus: &v1alpha1.PrometheusQuery{URL: "http://p", Query: "x{c=\"${cluster}\"}"}},
	}}}
	look := func() map[string]rollout.Member {
		members := map[string]rollout.Member{"eu": {Passed: true, Reading: &rollout.Reading{}}, "ill": {Reading: &rollout.Reading{}}, "us": {Passed: true}}
		r.measure(app, run, members)
		return members
	}
	if seen := look(); seen["eu"].Reading.Metrics != nil {
		t.Fatalf("nobody has answered: %+v", seen["eu"].Reading)
	}
	if query := <-queries; query != `x{c="eu"}` {
		t.Errorf("asked %s", query)
	}
	if got := <-told; got != app {
		t.Errorf("told %s", got)
	}
	if seen := look(); seen["eu"].Reading.Metrics["errors"] != (rollout.Metric{Value: 7, At: now}) || len(seen["eu"].Reading.Metrics) != 1 || seen["ill"].Reading.Metrics != nil {
		t.Errorf("%+v, %+v", seen["eu"].Reading, seen["ill"].Reading)
	}
	now, failure = now.Add(askAgain), errors.New("away")
	look()
	<-queries
	<-told
	if seen := look(); seen["eu"].Reading.Metrics["errors"].Refused != "away" {
		t.Errorf("%+v", seen["eu"].Reading)
	}
	now = now.Add(oldAnswer)
	if seen := look(); seen["eu"].Reading.Metrics != nil {
		t.Errorf("an answer that is old counts: %+v", seen["eu"].Reading)
	}
	<-queries
	<-told
}
