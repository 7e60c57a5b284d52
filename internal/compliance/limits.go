package compliance

import (
	"fmt"

	admissionv1 "k8s.io/api/admissionregistration/v1"
)

// These bound a set: to prepare each policy takes time and memory, and a long
// expression takes seconds.
const (
	MaxPolicies = 500
	// MaxExpressions is how many CEL expressions a set has, MaxExpression how long one
	// is in bytes, and MaxText how long all of them are.
	MaxExpressions = 5_000
	MaxExpression  = 16 << 10
	MaxText        = 2 << 20
)

// tooMuch refuses more policies than are judged by at once.
func tooMuch(policies []*admissionv1.ValidatingAdmissionPolicy) error {
	if len(policies) > MaxPolicies {
		return fmt.Errorf("there are %d policies, and at most %d are judged by at once", len(policies), MaxPolicies)
	}
	count, text := 0, 0
	for _, p := range policies {
		for _, e := range texts(p) {
			count, text = count+1, text+len(e.text)
		}
	}
	if count > MaxExpressions || text > MaxText {
		return fmt.Errorf("the policies have %d expressions of %d bytes, and at most %d of %d bytes are judged by at once", count, text, MaxExpressions, MaxText)
	}
	return nil
}

// tooLong are the expressions that are not compiled for their length.
func (c *compilation) tooLong(p *admissionv1.ValidatingAdmissionPolicy) (faults Faults) {
	for _, e := range texts(p) {
		if len(e.text) > MaxExpression {
			faults = append(faults, c.fault(e.name, fmt.Sprintf("has %d bytes, and at most %d are judged by: make variables of its parts", len(e.text), MaxExpression)))
		}
	}
	return faults
}

// texts are a policy's expressions with their fields.
func texts(p *admissionv1.ValidatingAdmissionPolicy) []expression {
	var all []expression
	add := func(text, field string, i int) {
		if text != "" {
			all = append(all, expression{name: fmt.Sprintf(field, i), text: text})
		}
	}
	for i, v := range p.Spec.Variables {
		add(v.Expression, "spec.variables[%d].expression", i)
	}
	for i, m := range p.Spec.MatchConditions {
		add(m.Expression, "spec.matchConditions[%d].expression", i)
	}
	for i, v := range p.Spec.Validations {
		add(v.Expression, "spec.validations[%d].expression", i)
		add(v.MessageExpression, "spec.validations[%d].messageExpression", i)
	}
	for i, a := range p.Spec.AuditAnnotations {
		add(a.ValueExpression, "spec.auditAnnotations[%d].valueExpression", i)
	}
	return all
}
