package compliance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	celgo "github.com/google/cel-go/cel"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	plugincel "k8s.io/apiserver/pkg/admission/plugin/cel"
	apiservercel "k8s.io/apiserver/pkg/cel"
	"k8s.io/apiserver/pkg/cel/environment"
)

// Annotations of a policy that say how bad a violation is, and which controls of
// frameworks the policy supports, apart by blanks.
const (
	SeverityKey = "atoll.dev/severity"
	ControlsKey = "atoll.dev/controls"
)

// Set is policies with their bindings and parameters, compiled. It is safe for
// use by several goroutines.
type Set struct {
	rules     []*rule
	params    []*unstructured.Unstructured
	undecided []Undecided
}

// rule is one policy.
type rule struct {
	policy   *admissionv1.ValidatingAdmissionPolicy
	match    match
	bindings []binding
	severity Severity
	controls []string
	programs
}

// programs are a policy's expressions.
type programs struct {
	variables *plugincel.CompositedCompiler
	count     int // of variables
	// conditions, validations, messages and audits stand in the order of the
	// policy; a message without an expression has no program.
	conditions, validations, messages, audits []plugincel.CompilationResult
}

type binding struct {
	*admissionv1.ValidatingAdmissionPolicyBinding
	match  *match // nil matches everything
	params labels.Selector
	effect Effect
}

// match is a MatchResources with its selectors parsed.
type match struct {
	*admissionv1.MatchResources
	namespaces, objects labels.Selector
}

func matchOf(m *admissionv1.MatchResources) match {
	// checkMatch has parsed both.
	namespaces, _ := metav1.LabelSelectorAsSelector(m.NamespaceSelector)
	objects, _ := metav1.LabelSelectorAsSelector(m.ObjectSelector)
	return match{MatchResources: m, namespaces: namespaces, objects: objects}
}

// Compile takes the policies and bindings among objects; what else there is may
// be their parameters. What is wrong with them is told as Faults.
func Compile(objects []*unstructured.Unstructured) (*Set, error) {
	return CompileWithin(context.Background(), objects)
}

// CompileWithin is Compile until ctx ends, with the context's error then.
func CompileWithin(ctx context.Context, objects []*unstructured.Unstructured) (*Set, error) {
	r, s := reader{}, &Set{}
	for _, u := range objects {
		if IsPolicy(u) {
			r.read(u)
		} else {
			s.params = append(s.params, u)
		}
	}
	if err := tooMuch(r.policies); err != nil {
		return nil, err
	}
	bound := map[string][]binding{}
	for _, b := range r.bindings {
		bound[b.Spec.PolicyName] = append(bound[b.Spec.PolicyName], bindingOf(b))
	}
	base := environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion())
	faults := r.faults
	for _, p := range r.policies {
		bindings := bound[p.Name]
		delete(bound, p.Name)
		if len(bindings) == 0 {
			s.undecided = append(s.undecided, Undecided{Policy: p.Name, Why: "no binding names it, so that clusters judge nothing by it"})
		}
		programs, wrong := compile(ctx, p, base)
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		faults = append(faults, wrong...)
		s.rules = append(s.rules, &rule{policy: p, match: matchOf(p.Spec.MatchConstraints), bindings: bindings, programs: programs,
			severity: severityOf(p.Annotations), controls: strings.Fields(p.Annotations[ControlsKey])})
	}
	for name := range bound {
		s.undecided = append(s.undecided, Undecided{Policy: name, Why: fmt.Sprintf("the policy that binding %s names is not among those given", bound[name][0].Name)})
	}
	slices.SortFunc(s.undecided, func(a, b Undecided) int { return strings.Compare(a.Policy, b.Policy) })
	if len(faults) > 0 {
		return nil, faults
	}
	return s, nil
}

func severityOf(annotations map[string]string) Severity {
	if s := annotations[SeverityKey]; s != "" {
		return Severity(s)
	}
	return Medium
}

func bindingOf(b *admissionv1.ValidatingAdmissionPolicyBinding) binding {
	out := binding{ValidatingAdmissionPolicyBinding: b, effect: Audit}
	for _, e := range effects {
		if slices.Contains(b.Spec.ValidationActions, admissionv1.ValidationAction(e)) {
			out.effect = e
			break
		}
	}
	if b.Spec.MatchResources != nil {
		m := matchOf(b.Spec.MatchResources)
		out.match = &m
	}
	if b.Spec.ParamRef != nil && b.Spec.ParamRef.Selector != nil {
		out.params, _ = metav1.LabelSelectorAsSelector(b.Spec.ParamRef.Selector)
	}
	return out
}

// paramKinds are the kinds of the policies' parameters.
func (s *Set) paramKinds() map[schema.GroupKind]bool {
	kinds := map[schema.GroupKind]bool{}
	for _, r := range s.rules {
		if k := r.policy.Spec.ParamKind; k != nil {
			kinds[schema.FromAPIVersionAndKind(k.APIVersion, k.Kind).GroupKind()] = true
		}
	}
	return kinds
}

// expression is one that is compiled to one of the types.
type expression struct {
	name, text string
	types      []*celgo.Type
}

func (e *expression) GetName() string            { return e.name }
func (e *expression) GetExpression() string      { return e.text }
func (e *expression) ReturnTypes() []*celgo.Type { return e.types }

// compilation compiles one policy's expressions and gathers what is wrong.
type compilation struct {
	policy string
	faults Faults
}

// compile declares to each expression what an API server declares to it: variables
// to all but the conditions, and no authorizer to messages. It stops when ctx ends.
func compile(ctx context.Context, p *admissionv1.ValidatingAdmissionPolicy, base *environment.EnvSet) (programs, Faults) {
	c := compilation{policy: p.Name}
	if c.faults = c.tooLong(p); len(c.faults) > 0 {
		return programs{}, c.faults
	}
	composed, err := plugincel.NewCompositedCompiler(base)
	if err != nil {
		return programs{}, Faults{c.fault("spec", err.Error())}
	}
	plain := plugincel.NewCompiler(base)
	out := programs{variables: composed, count: len(p.Spec.Variables)}
	with := plugincel.OptionalVariableDeclarations{HasParams: p.Spec.ParamKind != nil, HasAuthorizer: true}
	without := plugincel.OptionalVariableDeclarations{HasParams: p.Spec.ParamKind != nil}
	for i, v := range p.Spec.Variables {
		if ctx.Err() != nil {
			break
		}
		e := &expression{name: v.Name, text: v.Expression, types: []*celgo.Type{celgo.AnyType, celgo.DynType}}
		c.note(fmt.Sprintf("spec.variables[%d].expression", i), composed.CompileAndStoreVariable(e, with, environment.StoredExpressions))
	}
	boolean, text := []*celgo.Type{celgo.BoolType}, []*celgo.Type{celgo.StringType}
	for i, m := range p.Spec.MatchConditions {
		if ctx.Err() != nil {
			break
		}
		e := &expression{name: m.Name, text: m.Expression, types: boolean}
		out.conditions = append(out.conditions, c.note(fmt.Sprintf("spec.matchConditions[%d].expression", i), plain.CompileCELExpression(e, with, environment.StoredExpressions)))
	}
	for i, v := range p.Spec.Validations {
		if ctx.Err() != nil {
			break
		}
		field := fmt.Sprintf("spec.validations[%d].", i)
		e := &expression{text: v.Expression, types: boolean}
		out.validations = append(out.validations, c.note(field+"expression", composed.CompileCELExpression(e, with, environment.StoredExpressions)))
		message := plugincel.CompilationResult{}
		if v.MessageExpression != "" {
			e := &expression{text: v.MessageExpression, types: text}
			message = c.note(field+"messageExpression", composed.CompileCELExpression(e, without, environment.StoredExpressions))
		}
		out.messages = append(out.messages, message)
	}
	for i, a := range p.Spec.AuditAnnotations {
		if ctx.Err() != nil {
			break
		}
		e := &expression{name: a.Key, text: a.ValueExpression, types: []*celgo.Type{celgo.StringType, celgo.NullType}}
		out.audits = append(out.audits, c.note(fmt.Sprintf("spec.auditAnnotations[%d].valueExpression", i), composed.CompileCELExpression(e, with, environment.StoredExpressions)))
	}
	return out, c.faults
}

// note keeps a compilation's faults.
func (c *compilation) note(field string, r plugincel.CompilationResult) plugincel.CompilationResult {
	if r.Error == nil {
		return r
	}
	issues := (*apiservercel.CompilationError)(nil)
	if !errors.As(r.Error, &issues) || issues.Issues == nil || len(issues.Issues.Errors()) == 0 {
		c.faults = append(c.faults, c.fault(field, r.Error.Detail))
		return r
	}
	for _, e := range issues.Issues.Errors() {
		f := c.fault(field, e.Message)
		f.Line, f.Column = e.Location.Line(), e.Location.Column()+1
		c.faults = append(c.faults, f)
	}
	return r
}

func (c *compilation) fault(field, message string) Fault {
	return Fault{Kind: PolicyKind, Name: c.policy, Field: field, Message: message}
}
