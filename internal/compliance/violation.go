package compliance

import (
	"cmp"
	"slices"

	"atoll.dev/atoll/internal/report"
)

// Severity is how bad a violation is, in the words of PolicyReports.
type Severity string

// The severities, worst first. A policy that names none is Medium.
const (
	Critical Severity = "critical"
	High     Severity = "high"
	Medium   Severity = "medium"
	Low      Severity = "low"
)

var severities = []Severity{Critical, High, Medium, Low}

// Effect is what becomes of an object that breaks a policy.
type Effect string

// The effects, strongest first: the API server refuses it, warns, or records it.
const (
	Deny  Effect = "Deny"
	Warn  Effect = "Warn"
	Audit Effect = "Audit"
)

var effects = []Effect{Deny, Warn, Audit}

// Violation is one object that breaks one rule of a policy.
type Violation struct {
	Policy   string   `json:"policy"`
	Binding  string   `json:"binding,omitempty"`
	Severity Severity `json:"severity"`
	Effect   Effect   `json:"effect"`
	// Controls are those that the policy supports, such as "soc2/CC6.1".
	Controls []string         `json:"controls,omitempty"`
	Object   report.ObjectRef `json:"object"`
	// Rule is the field of the policy that was broken, such as
	// "spec.validations[0]", or the name of a check.
	Rule    string `json:"rule"`
	Message string `json:"message"`
	// Failed tells that the rule could not be evaluated and that the policy
	// refuses in that case.
	Failed bool `json:"failed,omitempty"`
	// Owner answers for the object; empty when nobody is named.
	Owner     string     `json:"owner,omitempty"`
	Exemption *Exemption `json:"exemption,omitempty"`
}

// Counts tells a violation from one that is validly exempt.
func (v Violation) Counts() bool { return v.Exemption == nil || v.Exemption.Fault != "" }

// Undecided is what could not be judged, and why.
type Undecided struct {
	Policy string            `json:"policy"`
	Object *report.ObjectRef `json:"object,omitempty"`
	Why    string            `json:"why"`
}

// Report is what became of a check.
type Report struct {
	Violations []Violation `json:"violations"`
	Undecided  []Undecided `json:"undecided,omitempty"`
	// Objects and Policies are how many were judged, and by how many.
	Objects  int `json:"objects"`
	Policies int `json:"policies"`
}

// Counting are the violations that are not validly exempt.
func (r Report) Counting() int {
	n := 0
	for _, v := range r.Violations {
		if v.Counts() {
			n++
		}
	}
	return n
}

// sort puts what matters first: what counts, then by severity and effect.
func (r *Report) sort() {
	slices.SortStableFunc(r.Violations, func(a, b Violation) int {
		return cmp.Or(
			cmp.Compare(order(a.Counts()), order(b.Counts())),
			cmp.Compare(slices.Index(severities, a.Severity), slices.Index(severities, b.Severity)),
			cmp.Compare(slices.Index(effects, a.Effect), slices.Index(effects, b.Effect)),
			cmp.Compare(a.Policy, b.Policy),
			cmp.Compare(a.Object.Namespace, b.Object.Namespace),
			cmp.Compare(a.Object.String(), b.Object.String()),
			cmp.Compare(a.Rule, b.Rule),
		)
	})
}

func order(first bool) int {
	if first {
		return 0
	}
	return 1
}
