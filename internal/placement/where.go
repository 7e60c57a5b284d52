package placement

import (
	"errors"
	"fmt"
	"sync"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/ext"

	"atoll.dev/atoll/api/v1alpha1"
)

// whereCost bounds one evaluation for one cluster, in CEL cost units: room for
// a few passes over a cluster's lists, none for a nested walk that would let
// one rule hold up the others.
const whereCost = 20_000

var whereEnv = sync.OnceValues(func() (*cel.Env, error) {
	base, err := types.NewRegistry()
	if err != nil {
		return nil, err
	}
	return cel.NewEnv(
		cel.CustomTypeAdapter(base),
		cel.CustomTypeProvider(declared{base}),
		cel.Variable("cluster", clusterType),
		cel.OptionalTypes(),
		cel.CrossTypeNumericComparisons(true),
		cel.DefaultUTCTimeZone(true),
		ext.Strings(),
		ext.Sets(),
	)
})

// where is a compiled expression.
type where struct {
	source  string
	program cel.Program
}

func compileWhere(source string) (*where, error) {
	env, err := whereEnv()
	if err != nil {
		return nil, fmt.Errorf("prepare expressions over clusters: %w", err)
	}
	checked, issues := env.Compile(source)
	if issues.Err() != nil {
		return nil, fmt.Errorf("where: %s", celMessage(issues))
	}
	if checked.OutputType() != cel.BoolType {
		return nil, fmt.Errorf("where: gives %s, not true or false; compare it with something", checked.OutputType())
	}
	program, err := env.Program(checked, cel.EvalOptions(cel.OptOptimize), cel.CostLimit(whereCost))
	if err != nil {
		return nil, fmt.Errorf("where: %w", err)
	}
	return &where{source: source, program: program}, nil
}

// celMessage is the first error in one line: "undefined field 'regoin' (column 9)".
func celMessage(issues *cel.Issues) string {
	first := issues.Errors()[0]
	return fmt.Sprintf("%s (line %d, column %d)", first.Message, first.Location.Line(), first.Location.Column()+1)
}

// refuse evaluates the expression for one cluster; nil means it holds.
func (w *where) refuse(c *v1alpha1.Cluster) *Refusal {
	out, _, err := w.program.Eval(map[string]any{"cluster": record[*v1alpha1.Cluster]{clusterType, clusterFields, c}})
	switch {
	case errors.Is(err, errNoFacts):
		return &Refusal{FactsMissing, "where reads facts and the agent has not reported any yet"}
	case err != nil:
		return &Refusal{WhereFailed, "where cannot be evaluated here: " + err.Error()}
	case out != types.True:
		return &Refusal{WhereFalse, "where does not hold: " + w.source}
	}
	return nil
}
