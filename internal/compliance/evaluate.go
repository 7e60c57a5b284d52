package compliance

import (
	"context"
	"fmt"
	"math"
	"strings"

	celgo "github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/interpreter"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	plugincel "k8s.io/apiserver/pkg/admission/plugin/cel"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
)

// activation gives an expression its variables, as plain values: nothing is copied.
type activation struct {
	object, params, request, namespace any
	variables                          ref.Val
	// asked tells that an expression wanted to know what somebody may do.
	asked bool
}

func (a *activation) ResolveName(name string) (any, bool) {
	switch name {
	case plugincel.ObjectVarName:
		return a.object, true
	case plugincel.OldObjectVarName:
		return nil, true // what is created was nothing before
	case plugincel.ParamsVarName:
		return a.params, true
	case plugincel.RequestVarName:
		return a.request, true
	case plugincel.NamespaceVarName:
		return a.namespace, true
	case plugincel.VariableVarName:
		return a.variables, true
	case plugincel.AuthorizerVarName, plugincel.RequestResourceAuthorizerVarName:
		a.asked = true
	}
	return nil, false
}

func (a *activation) Parent() interpreter.Activation { return nil }

// outcome is what one expression came to.
type outcome struct {
	value ref.Val
	err   error
}

// errBudget ends the evaluation of a policy for an object.
var errBudget = fmt.Errorf("the expressions cost more than an API server allows: nothing more of the policy is evaluated")

// evaluator runs one policy's expressions over one object, within the budget that
// an API server has for that.
type evaluator struct {
	programs
	activation activation
	context    plugincel.CompositionContext
	budget     int64
}

// on begins a group of expressions: variables are computed once for each group.
func (e *evaluator) on(ctx context.Context, budget int64) {
	e.context = e.programs.variables.CreateContext(ctx)
	e.budget = budget
	if e.count > 0 {
		e.activation.variables = e.context.Variables(&e.activation)
	}
}

// run evaluates expressions in order. The error is that of a budget that is spent.
func (e *evaluator) run(results []plugincel.CompilationResult) ([]outcome, error) {
	out := make([]outcome, len(results))
	for i, r := range results {
		if r.Program == nil {
			continue // a message without an expression
		}
		value, details, err := r.Program.ContextEval(e.context, &e.activation)
		if err := e.pay(details); err != nil {
			return nil, err
		}
		if err != nil {
			out[i].err = fmt.Errorf("expression '%s' resulted in error: %w", r.ExpressionAccessor.GetExpression(), err)
			continue
		}
		out[i].value = value
	}
	return out, nil
}

func (e *evaluator) pay(details *celgo.EvalDetails) error {
	e.budget -= e.context.GetAndResetCost()
	if e.budget < 0 || details == nil || details.ActualCost() == nil {
		return errBudget
	}
	cost := *details.ActualCost()
	if cost > math.MaxInt64 || int64(cost) > e.budget {
		return errBudget
	}
	e.budget -= int64(cost)
	return nil
}

// verdict is one rule that is broken.
type verdict struct {
	rule, message string
	// failed tells that the rule could not be evaluated.
	failed bool
	// always tells that the API server refuses whatever the binding's actions.
	always bool
}

// judge is what a policy says of an object, with one parameter.
func (e *evaluator) judge(ctx context.Context, p *admissionv1.ValidatingAdmissionPolicy) []verdict {
	fails := *p.Spec.FailurePolicy != admissionv1.Ignore
	failed := func(rule string, err error) []verdict {
		if !fails {
			return nil
		}
		return []verdict{{rule: rule, message: err.Error(), failed: true}}
	}
	if matches, err := e.conditionsHold(ctx); err != nil {
		return failed("spec.matchConditions", err)
	} else if !matches {
		return nil
	}
	e.on(ctx, celconfig.RuntimeCELCostBudget)
	results, err := e.run(e.validations)
	if err != nil {
		return failed("spec.validations", err)
	}
	verdicts := e.broken(ctx, p, results, fails)
	return append(verdicts, e.annotations(ctx, fails)...)
}

// conditionsHold evaluates the matchConditions, for which there is no namespaceObject.
func (e *evaluator) conditionsHold(ctx context.Context) (bool, error) {
	if len(e.conditions) == 0 {
		return true, nil
	}
	namespace := e.activation.namespace
	e.activation.namespace = nil
	defer func() { e.activation.namespace = namespace }()
	e.on(ctx, celconfig.RuntimeCELCostBudgetMatchConditions)
	results, err := e.run(e.conditions)
	if err != nil {
		return false, err
	}
	for _, r := range results {
		if r.value == types.False {
			return false, nil // whatever the errors of others
		}
		if r.err != nil {
			err = r.err
		}
	}
	return err == nil, err
}

// broken are the validations that are not true, with their messages.
func (e *evaluator) broken(ctx context.Context, p *admissionv1.ValidatingAdmissionPolicy, results []outcome, fails bool) []verdict {
	var messages []outcome
	var spent error
	told := false
	// An API server evaluates messages always, and refuses when they cost too much,
	// which fewer expressions than these cannot.
	expressions := int64(len(e.messages) + e.count)
	if e.budget < expressions*celconfig.PerCallLimit {
		messages, spent = e.tell(ctx)
		told = true
	}
	var out []verdict
	for i, r := range results {
		rule := fmt.Sprintf("spec.validations[%d]", i)
		switch {
		case r.err != nil && fails:
			out = append(out, verdict{rule: rule, message: r.err.Error(), failed: true})
		case r.err != nil:
		case spent != nil && fails:
			out = append(out, verdict{rule: rule, message: "messageExpression: " + spent.Error(), failed: true})
		case spent != nil:
		case r.value != types.True:
			if !told {
				messages, _ = e.tell(ctx)
				told = true
			}
			out = append(out, verdict{rule: rule, message: message(p.Spec.Validations[i], messages, i)})
		}
	}
	return out
}

// tell evaluates the messages, from what is left of the budget.
func (e *evaluator) tell(ctx context.Context) ([]outcome, error) {
	e.on(ctx, e.budget)
	return e.run(e.messages)
}

// message is the expression's, if it is one line of a bearable length, else the
// policy's text, else the expression itself.
func message(v admissionv1.Validation, messages []outcome, i int) string {
	if i < len(messages) && messages[i].err == nil && messages[i].value != nil {
		if text, ok := messages[i].value.Value().(string); ok {
			text = strings.TrimSpace(text)
			if text != "" && len(text) <= celconfig.MaxEvaluatedMessageExpressionSizeBytes && !strings.Contains(text, "\n") {
				return text
			}
		}
	}
	if text := strings.TrimSpace(v.Message); text != "" {
		return text
	}
	return "failed expression: " + strings.TrimSpace(v.Expression)
}

// annotations are those for the audit log that cannot be evaluated: an API server
// refuses for them, whatever the binding's actions.
func (e *evaluator) annotations(ctx context.Context, fails bool) []verdict {
	if len(e.audits) == 0 || !fails {
		return nil
	}
	e.on(ctx, celconfig.RuntimeCELCostBudget)
	results, err := e.run(e.audits)
	if err != nil {
		return []verdict{{rule: "spec.auditAnnotations", message: err.Error(), failed: true}}
	}
	var out []verdict
	for i, r := range results {
		if r.err != nil {
			out = append(out, verdict{rule: fmt.Sprintf("spec.auditAnnotations[%d]", i), message: r.err.Error(), failed: true, always: true})
		}
	}
	return out
}
