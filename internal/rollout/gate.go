package rollout

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/ext"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"atoll.dev/atoll/api/v1alpha1"
)

// gateCost bounds one evaluation for one cluster, in CEL cost units.
const gateCost = 10_000

// Reading is what a gate judges of one cluster.
type Reading struct {
	Cluster ClusterReading
	Report  ReportReading
	// Metrics are the numbers that gates asked for, by the gates' names.
	Metrics map[string]Metric
}

// Metric is what a server answered.
type Metric struct {
	Value float64
	// Refused is why there is no number.
	Refused string
	// At is when it was asked.
	At time.Time
}

// ClusterReading is `cluster` in a gate.
type ClusterReading struct {
	Name         string            `cel:"name"`
	Labels       map[string]string `cel:"labels"`
	Provider     string            `cel:"provider"`
	Region       string            `cel:"region"`
	Jurisdiction string            `cel:"jurisdiction"`
}

// ReportReading is `report` in a gate: what the cluster says of exactly the
// version that is asked of it.
type ReportReading struct {
	// Objects, Applied and Ready count the application's objects, Assumed those
	// whose health is silence that was taken for health.
	Objects int64 `cel:"objects"`
	Applied int64 `cel:"applied"`
	Ready   int64 `cel:"ready"`
	Assumed int64 `cel:"assumed"`
	// Corrections counts what others changed and the agent put right.
	Corrections int64 `cel:"corrections"`
	// Drifted tells that what others changed is not put right.
	Drifted bool `cel:"drifted"`
	// Verification is Running, Passed or Failed; empty when nothing tries the version.
	Verification string `cel:"verification"`
}

var gateEnv = sync.OnceValues(func() (*cel.Env, error) { return newGateEnv() })

// metricEnv is that of gates which ask for a number.
var metricEnv = sync.OnceValues(func() (*cel.Env, error) { return newGateEnv(cel.Variable("value", cel.DoubleType)) })

func newGateEnv(more ...cel.EnvOption) (*cel.Env, error) {
	return cel.NewEnv(append(more,
		ext.NativeTypes(reflect.TypeFor[ClusterReading](), reflect.TypeFor[ReportReading](), ext.ParseStructTags(true)),
		cel.Variable("cluster", cel.ObjectType("rollout.ClusterReading")),
		cel.Variable("report", cel.ObjectType("rollout.ReportReading")),
		cel.CrossTypeNumericComparisons(true),
		ext.Strings(),
	)...)
}

// Gate is a compiled gate.
type Gate struct {
	Name    string
	source  string
	program cel.Program
	// asks tells that it judges a number that a server is asked for.
	asks bool
}

// CompileGate reads a gate.
func CompileGate(g v1alpha1.Gate) (*Gate, error) {
	prepare := gateEnv
	if g.Prometheus != nil {
		prepare = metricEnv
	}
	env, err := prepare()
	if err != nil {
		return nil, fmt.Errorf("prepare gates: %w", err)
	}
	checked, issues := env.Compile(g.CEL)
	if issues.Err() != nil {
		first := issues.Errors()[0]
		return nil, fmt.Errorf("gate %s: cel: %s (line %d, column %d)", g.Name, first.Message, first.Location.Line(), first.Location.Column()+1)
	}
	if checked.OutputType() != cel.BoolType {
		return nil, fmt.Errorf("gate %s: cel gives %s, not true or false; compare it with something", g.Name, checked.OutputType())
	}
	program, err := env.Program(checked, cel.EvalOptions(cel.OptOptimize), cel.CostLimit(gateCost))
	if err != nil {
		return nil, fmt.Errorf("gate %s: %w", g.Name, err)
	}
	return &Gate{Name: g.Name, source: g.CEL, program: program, asks: g.Prometheus != nil}, nil
}

// Refuse is why a cluster does not pass; nil when it does. What cannot be
// evaluated does not pass, nor does a number from before the wave was well.
func (g *Gate) Refuse(r *Reading, well time.Time) error {
	if r == nil {
		return errors.New("the cluster has reported nothing to judge")
	}
	values, with := map[string]any{"cluster": r.Cluster, "report": r.Report}, r.Report.String()
	if g.asks {
		m, answered := r.Metrics[g.Name]
		switch {
		case !answered || m.At.Before(well):
			return errors.New("its metric is being asked for")
		case m.Refused != "":
			return fmt.Errorf("its metric cannot be told: %s", m.Refused)
		}
		values["value"], with = m.Value, fmt.Sprintf("value %v", m.Value)
	}
	out, _, err := g.program.Eval(values)
	switch {
	case err != nil:
		return fmt.Errorf("it cannot be evaluated: %w", err)
	case out != types.True:
		return fmt.Errorf("%s does not hold, with %s", g.source, with)
	}
	return nil
}

// String is the values, as gates name them.
func (r ReportReading) String() string {
	return fmt.Sprintf("objects %d, applied %d, ready %d, assumed %d, corrections %d, drifted %v, verification %q",
		r.Objects, r.Applied, r.Ready, r.Assumed, r.Corrections, r.Drifted, r.Verification)
}

// gateLook is how often a wave that a gate holds back looks again, beside each
// time that one of its clusters speaks.
const gateLook = 30 * time.Second

// refused are the clusters of this wave that verification or gates hold back,
// sorted, with the reason of one. Each answers for itself.
func (s *step) refused() (names []string, why string) {
	names, why = s.unproven()
	from, to := s.bounds()
	for _, g := range s.plan.Waves[s.status.Wave].Gates {
		gate, unread := CompileGate(g)
		for _, name := range s.all[from:to] {
			if s.excused(name) {
				continue
			}
			err := unread
			if err == nil {
				err = gate.Refuse(s.member(name).Reading, s.status.HealthyAt.Time)
			}
			if err == nil {
				continue
			}
			names = append(names, name)
			if why == "" {
				why = fmt.Sprintf("gate %s on %s: %v", g.Name, name, err)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names), why
}

// gated reports whether gates hold the wave back, and fails the clusters that
// they hold back for as long as a wave may make no progress.
func (s *step) gated() bool {
	names, why := s.refused()
	if len(names) == 0 {
		s.status.GatedAt = nil
		return false
	}
	if s.status.GatedAt == nil || s.status.GatedAt.Before(s.status.HealthyAt) { // well, and then not, and again
		s.status.GatedAt = &metav1.Time{Time: s.world.Now}
	}
	left := s.plan.ProgressDeadline.Duration - s.listening(s.status.GatedAt)
	if left > 0 {
		s.say("wave %d: %s", s.status.Wave+1, why)
		s.wakeIn(min(left, gateLook))
		return true
	}
	s.status.GatedAt = nil
	s.failFor(names, fmt.Sprintf("not passed for %s: %s", s.plan.ProgressDeadline.Duration, why))
	return true
}
