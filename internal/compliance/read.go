package compliance

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	kjson "sigs.k8s.io/json"

	"atoll.dev/atoll/internal/content"
)

// admissionGroup is the API group of policies and bindings.
const admissionGroup = "admissionregistration.k8s.io"

// The kinds that make a set.
const (
	PolicyKind  = "ValidatingAdmissionPolicy"
	BindingKind = "ValidatingAdmissionPolicyBinding"
)

// Read takes the objects out of manifests, in the order of a Bundle. Values of
// Secrets are not among them.
func Read(files []content.File) ([]*unstructured.Unstructured, error) {
	hidden := func(_, _, _ string, _ []byte) string { return "hidden" }
	parsed, err := content.Parse(files, content.Options{Ref: hidden})
	if err != nil {
		return nil, err
	}
	objects := make([]*unstructured.Unstructured, len(parsed.Bundle.Objects))
	for i, o := range parsed.Bundle.Objects {
		u := &unstructured.Unstructured{}
		if err := kjson.UnmarshalCaseSensitivePreserveInts(o.Manifest, &u.Object); err != nil {
			return nil, fmt.Errorf("read %s: %w", o.Ref, err)
		}
		objects[i] = u
	}
	return objects, nil
}

// Fault is one thing wrong with a policy or a binding.
type Fault struct {
	// Kind and Name are the object's, Field where in it.
	Kind, Name, Field string
	// Line and Column count from 1 within a CEL expression; 0 elsewhere.
	Line, Column int
	Message      string
}

func (f Fault) String() string {
	at := f.Kind + "/" + f.Name + ": " + f.Field
	if f.Line > 0 {
		at += fmt.Sprintf(", line %d, column %d of the expression", f.Line, f.Column)
	}
	return at + ": " + f.Message
}

// Faults are everything wrong with policies, so that all is mended in one go.
type Faults []Fault

// Error has one line for each.
func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i := range f {
		lines[i] = f[i].String()
	}
	return strings.Join(lines, "\n")
}

// IsPolicy tells policies and bindings, which make a set, from everything else.
func IsPolicy(u *unstructured.Unstructured) bool {
	return u.GroupVersionKind().Group == admissionGroup && (u.GetKind() == PolicyKind || u.GetKind() == BindingKind)
}

// reader gathers typed policies and bindings, with what an API server defaults.
type reader struct {
	policies []*admissionv1.ValidatingAdmissionPolicy
	bindings []*admissionv1.ValidatingAdmissionPolicyBinding
	faults   Faults
}

func (r *reader) read(u *unstructured.Unstructured) {
	fault := func(field, format string, args ...any) {
		r.faults = append(r.faults, Fault{Kind: u.GetKind(), Name: u.GetName(), Field: field, Message: fmt.Sprintf(format, args...)})
	}
	before := len(r.faults)
	// The beta has the same fields.
	if v := u.GroupVersionKind().Version; v != "v1" && v != "v1beta1" {
		fault("apiVersion", "is %s; write %s/v1", u.GetAPIVersion(), admissionGroup)
		return
	}
	if u.GetKind() == PolicyKind {
		p := &admissionv1.ValidatingAdmissionPolicy{}
		if err := strictly(u, p); err != nil {
			fault("spec", "%v", err)
			return
		}
		defaultPolicy(p)
		checkPolicy(p, fault)
		if len(r.faults) == before {
			r.policies = append(r.policies, p)
		}
		return
	}
	b := &admissionv1.ValidatingAdmissionPolicyBinding{}
	if err := strictly(u, b); err != nil {
		fault("spec", "%v", err)
		return
	}
	defaultMatch(b.Spec.MatchResources)
	checkBinding(b, fault)
	if len(r.faults) == before {
		r.bindings = append(r.bindings, b)
	}
}

// strictly refuses fields that the type does not have.
func strictly(u *unstructured.Unstructured, into any) error {
	data, err := json.Marshal(u.Object)
	if err != nil {
		return err
	}
	strict, err := kjson.UnmarshalStrict(data, into)
	if err == nil && len(strict) > 0 {
		err = strict[0]
	}
	return err
}

func defaultPolicy(p *admissionv1.ValidatingAdmissionPolicy) {
	if p.Spec.FailurePolicy == nil {
		fail := admissionv1.Fail
		p.Spec.FailurePolicy = &fail
	}
	defaultMatch(p.Spec.MatchConstraints)
}

func defaultMatch(m *admissionv1.MatchResources) {
	if m == nil {
		return
	}
	if m.MatchPolicy == nil {
		equivalent := admissionv1.Equivalent
		m.MatchPolicy = &equivalent
	}
	if m.NamespaceSelector == nil {
		m.NamespaceSelector = &metav1.LabelSelector{}
	}
	if m.ObjectSelector == nil {
		m.ObjectSelector = &metav1.LabelSelector{}
	}
}

type faulter func(field, format string, args ...any)

// checkPolicy is what an API server refuses beside expressions that do not compile.
func checkPolicy(p *admissionv1.ValidatingAdmissionPolicy, fault faulter) {
	switch m := p.Spec.MatchConstraints; {
	case m == nil || len(m.ResourceRules) == 0:
		fault("spec.matchConstraints.resourceRules", "is missing: say which resources the policy is about")
	default:
		checkMatch("spec.matchConstraints", m, fault)
	}
	if f := *p.Spec.FailurePolicy; f != admissionv1.Fail && f != admissionv1.Ignore {
		fault("spec.failurePolicy", "is %q, and neither Fail nor Ignore", f)
	}
	if len(p.Spec.Validations) == 0 && len(p.Spec.AuditAnnotations) == 0 {
		fault("spec.validations", "is empty: a policy needs at least one")
	}
	if k := p.Spec.ParamKind; k != nil && (k.APIVersion == "" || k.Kind == "") {
		fault("spec.paramKind", "needs both apiVersion and kind")
	}
	if s := p.Annotations[SeverityKey]; s != "" && !slices.Contains(severities, Severity(s)) {
		fault("metadata.annotations["+SeverityKey+"]", "is %q, and none of critical, high, medium, low", s)
	}
}

func checkMatch(at string, m *admissionv1.MatchResources, fault faulter) {
	for field, s := range map[string]*metav1.LabelSelector{"namespaceSelector": m.NamespaceSelector, "objectSelector": m.ObjectSelector} {
		if _, err := metav1.LabelSelectorAsSelector(s); err != nil {
			fault(at+"."+field, "%v", err)
		}
	}
	for list, rules := range map[string][]admissionv1.NamedRuleWithOperations{"resourceRules": m.ResourceRules, "excludeResourceRules": m.ExcludeResourceRules} {
		for i, r := range rules {
			if len(r.Operations) == 0 || len(r.APIGroups) == 0 || len(r.APIVersions) == 0 || len(r.Resources) == 0 {
				fault(fmt.Sprintf("%s.%s[%d]", at, list, i), "needs operations, apiGroups, apiVersions and resources")
			}
		}
	}
}

func checkBinding(b *admissionv1.ValidatingAdmissionPolicyBinding, fault faulter) {
	if b.Spec.PolicyName == "" {
		fault("spec.policyName", "is missing: name the policy that it binds")
	}
	if b.Spec.MatchResources != nil {
		checkMatch("spec.matchResources", b.Spec.MatchResources, fault)
	}
	actions := b.Spec.ValidationActions
	for _, a := range actions {
		if !slices.Contains(effects, Effect(a)) {
			fault("spec.validationActions", "has %q, and takes Deny, Warn and Audit", a)
		}
	}
	switch {
	case len(actions) == 0:
		fault("spec.validationActions", "is empty: say Deny, Warn or Audit")
	case slices.Contains(actions, admissionv1.Deny) && slices.Contains(actions, admissionv1.Warn):
		fault("spec.validationActions", "has both Deny and Warn, which say the same twice: keep one")
	}
	checkParamRef(b.Spec.ParamRef, fault)
}

func checkParamRef(r *admissionv1.ParamRef, fault faulter) {
	if r == nil {
		return
	}
	if (r.Name == "") == (r.Selector == nil) {
		fault("spec.paramRef", "needs either a name or a selector")
	}
	if a := r.ParameterNotFoundAction; a == nil || *a != admissionv1.AllowAction && *a != admissionv1.DenyAction {
		fault("spec.paramRef.parameterNotFoundAction", "is neither Allow nor Deny")
	}
	if r.Selector == nil {
		return
	}
	if _, err := metav1.LabelSelectorAsSelector(r.Selector); err != nil {
		fault("spec.paramRef.selector", "%v", err)
	}
}
