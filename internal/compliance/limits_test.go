package compliance_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"atoll.dev/atoll/internal/compliance"
)

// validating is a policy about ConfigMaps with its binding.
func validating(name string, expressions ...string) []*unstructured.Unstructured {
	var all []any
	for _, e := range expressions {
		all = append(all, map[string]any{"expression": e})
	}
	of := func(kind string, spec map[string]any) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": map[string]any{"name": name}, "spec": spec,
		}}
	}
	every := []any{map[string]any{"operations": []any{"*"}, "apiGroups": []any{""}, "apiVersions": []any{"*"}, "resources": []any{"configmaps"}}}
	return []*unstructured.Unstructured{
		of("ValidatingAdmissionPolicy", map[string]any{"matchConstraints": map[string]any{"resourceRules": every}, "validations": all}),
		of("ValidatingAdmissionPolicyBinding", map[string]any{"policyName": name, "validationActions": []any{"Deny"}}),
	}
}

// TestPoliciesThatCostTooMuchAreRefused before any of them is compiled: an expression
// of some ten thousand bytes takes seconds.
func TestPoliciesThatCostTooMuchAreRefused(t *testing.T) {
	long := strings.Repeat("1==1||", compliance.MaxExpression/6+1) + "true"
	many := make([]string, compliance.MaxExpressions+1)
	for i := range many {
		many[i] = "true"
	}
	text := make([]string, compliance.MaxText/compliance.MaxExpression+1)
	for i := range text {
		text[i] = "true" + strings.Repeat(" ", compliance.MaxExpression-4)
	}
	for name, tt := range map[string]struct {
		expressions []string
		why         string
	}{
		"one is long":     {[]string{"true", long}, fmt.Sprintf("ValidatingAdmissionPolicy/p: spec.validations[1].expression: has %d bytes", len(long))},
		"there are many":  {many, "have 5001 expressions"},
		"they are a book": {text, "bytes are judged by at once"},
	} {
		if _, err := compliance.Compile(validating("p", tt.expressions...)); err == nil || !strings.Contains(err.Error(), tt.why) {
			t.Errorf("%s: %v", name, err)
		}
	}
	ctx, end := context.WithCancel(t.Context())
	end()
	if _, err := compliance.CompileWithin(ctx, validating("p", "true")); !errors.Is(err, context.Canceled) {
		t.Errorf("nobody waits for it any more: %v", err)
	}
}

// TestACheckEndsWithWhatIsToldAtMost, of one object too.
func TestACheckEndsWithWhatIsToldAtMost(t *testing.T) {
	set, err := compliance.Compile(validating("p", "false", "1 == 2", "'a' == 'b'"))
	if err != nil {
		t.Fatal(err)
	}
	object := manifests(t, "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: shop}}")
	if r, err := set.Check(t.Context(), object, compliance.Options{Most: 3}); err != nil || len(r.Violations) != 3 {
		t.Errorf("%d violations, %v", len(r.Violations), err)
	}
	if _, err := set.Check(t.Context(), object, compliance.Options{Most: 2}); err == nil || err.Error() != "more than 2 things are to be told" {
		t.Errorf("too much is found: %v", err)
	}
}

// TestReportsOfOneSetAreApart: a plan keeps those of many clusters.
func TestReportsOfOneSetAreApart(t *testing.T) {
	var policies []*unstructured.Unstructured
	for i := range 3 {
		policies = append(policies, validating(fmt.Sprint("unbound-", i), "true")[0])
	}
	asks := validating("asks", "params.data.a == 'b'")
	_ = unstructured.SetNestedStringMap(asks[0].Object, map[string]string{"apiVersion": "v1", "kind": "ConfigMap"}, "spec", "paramKind")
	_ = unstructured.SetNestedMap(asks[1].Object, map[string]any{"name": "none", "parameterNotFoundAction": "Allow"}, "spec", "paramRef")
	set, err := compliance.Compile(append(policies, asks...))
	if err != nil {
		t.Fatal(err)
	}
	judge := func(name string) []compliance.Undecided {
		r, err := set.Check(t.Context(), manifests(t, "{apiVersion: v1, kind: ConfigMap, metadata: {name: "+name+", namespace: shop}}"), compliance.Options{})
		if err != nil || len(r.Undecided) != 4 {
			t.Fatalf("%v, %v", r.Undecided, err)
		}
		return r.Undecided
	}
	first := judge("a")
	if judge("b"); first[3].Object.Name != "a" {
		t.Errorf("the report of a speaks of %s", first[3].Object)
	}
}
