package health

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/ext"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/report"
)

// ruleCost bounds one evaluation for one object, in CEL cost units: room for a
// few passes over the lists of a status, none for nested walks over large ones.
const ruleCost = 100_000

// Rules are an application's compiled health rules. A nil *Rules has none.
type Rules struct {
	byKind map[schema.GroupKind]*rule
}

type rule struct {
	healthy, degraded cel.Program
	assume            bool
}

var ruleEnv = sync.OnceValues(func() (*cel.Env, error) {
	return cel.NewEnv(
		cel.Variable("object", cel.DynType),
		cel.OptionalTypes(),
		cel.CrossTypeNumericComparisons(true),
		cel.DefaultUTCTimeZone(true),
		ext.Strings(ext.StringsVersion(2)),
		ext.Lists(ext.ListsVersion(2)),
	)
})

// Compile reads all rules, or says everything that is wrong with them. The
// first rule of a kind counts.
func Compile(rules []v1alpha1.HealthRule) (*Rules, error) {
	compiled := &Rules{byKind: make(map[schema.GroupKind]*rule, len(rules))}
	var errs []error
	for _, r := range rules {
		gk := groupKind(r.Group, r.Kind)
		healthy, err := CompileExpression(r.Healthy)
		if err != nil {
			errs = append(errs, fmt.Errorf("health rule of %s: healthy: %w", gk, err))
		}
		var degraded cel.Program
		if r.Degraded != "" {
			if degraded, err = CompileExpression(r.Degraded); err != nil {
				errs = append(errs, fmt.Errorf("health rule of %s: degraded: %w", gk, err))
			}
		}
		if _, given := compiled.byKind[gk]; !given {
			compiled.byKind[gk] = &rule{healthy: healthy, degraded: degraded, assume: r.AssumeHealthy}
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return compiled, nil
}

// CompileExpression compiles one condition over `object`; admission uses it to
// name the field that is wrong.
func CompileExpression(expression string) (cel.Program, error) {
	env, err := ruleEnv()
	if err != nil {
		return nil, err
	}
	ast, issues := env.Compile(expression)
	if err := issues.Err(); err != nil {
		return nil, fmt.Errorf("%q: %s", expression, firstLine(err))
	}
	if out := ast.OutputType(); !out.IsExactType(cel.BoolType) && !out.IsExactType(cel.DynType) {
		return nil, fmt.Errorf("%q is a %s; write a condition that is true or false", expression, out)
	}
	return env.Program(ast, cel.EvalOptions(cel.OptOptimize), cel.CostLimit(ruleCost))
}

// firstLine drops the source and the caret that CEL draws under it.
func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return strings.TrimPrefix(line, "ERROR: <input>:")
}

func (r *Rules) of(gk schema.GroupKind) *rule {
	if r == nil {
		return nil
	}
	return r.byKind[gk]
}

// assess: Degraded wins; neither true means Progressing. A field that is not
// there yet makes an expression undecided, not wrong.
func (r *rule) assess(obj *unstructured.Unstructured, firstSeen, now time.Time) Result {
	if r.degraded != nil {
		if bad, why := holds(r.degraded, obj); bad {
			return degraded("its health rule says degraded")
		} else if why != "" {
			return Result{Health: report.HealthUnknown, Message: "its health rule cannot be evaluated: " + why}
		}
	}
	good, why := holds(r.healthy, obj)
	switch {
	case good:
		return healthy("its health rule says healthy")
	case why != "":
		return Result{Health: report.HealthUnknown, Message: "its health rule cannot be evaluated: " + why}
	case r.assume && isSilent(obj):
		result := silent(firstSeen, now)
		if result.Assumed {
			return healthy("says nothing of its health, which the application accepts")
		}
		return result
	}
	return progressing("its health rule does not say healthy yet")
}

func isSilent(obj *unstructured.Unstructured) bool {
	status, _ := obj.Object["status"].(map[string]any)
	return len(status) == 0
}

// holds evaluates a condition. why is set when it can never be evaluated.
func holds(p cel.Program, obj *unstructured.Unstructured) (holds bool, why string) {
	out, _, err := p.Eval(map[string]any{"object": obj.Object})
	switch {
	case err != nil && isAbsence(err):
		return false, ""
	case err != nil:
		return false, firstLine(err)
	}
	value, ok := out.(types.Bool)
	if !ok {
		return false, fmt.Sprintf("it is %s, not true or false", out.Type().TypeName())
	}
	return bool(value), ""
}

// isAbsence tells an error for a field or element that does not exist. CEL has
// no other mark for it than its words.
func isAbsence(err error) bool {
	message := err.Error()
	return strings.Contains(message, "no such key") || strings.Contains(message, "no such field") ||
		strings.Contains(message, "index out of bounds")
}
