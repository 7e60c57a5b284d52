package apiserver

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/matchconditions"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/cel/environment"
)

// A write of which a host asks nobody passes as it is: also one that takes away
// whose fields an object has, before it changes them.
func TestAHostAsksAboutEveryWriteByOneOfItsWebhooks(t *testing.T) {
	asks := func(expression string, o, old *unstructured.Unstructured, operation admission.Operation) bool {
		t.Helper()
		compiler := cel.NewConditionCompiler(environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion()))
		compiled := compiler.CompileCondition([]cel.ExpressionAccessor{&matchconditions.MatchCondition{Name: "x", Expression: expression}},
			cel.OptionalVariableDeclarations{HasAuthorizer: true}, environment.StoredExpressions)
		kind := schema.GroupVersionKind{Group: "example.org", Version: "v1", Kind: "Widget"}
		a := &admission.VersionedAttributes{
			Attributes:      admission.NewAttributesRecord(o, old, kind, "", "a", schema.GroupVersionResource{Group: "example.org", Version: "v1", Resource: "widgets"}, "", operation, nil, false, &user.DefaultInfo{Name: "ann"}),
			VersionedObject: o, VersionedOldObject: old, VersionedKind: kind,
		}
		matches := matchconditions.NewMatcher(compiled, nil, "webhook", "validating", "x").Match(t.Context(), a, nil, nil)
		if matches.Error != nil {
			t.Fatalf("%s: %v", expression, matches.Error)
		}
		return matches.Matches
	}
	widget := func(color string, annotations map[string]any) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "example.org/v1", "kind": "Widget", "metadata": map[string]any{"name": "a", "annotations": annotations}, "spec": map[string]any{"color": color},
		}}
	}
	marked := map[string]any{"example.org/by": "bob"}
	for name, tt := range map[string]struct {
		new, old    *unstructured.Unstructured
		operation   admission.Operation
		spec, marks bool
	}{
		"it is made":             {widget("red", nil), nil, admission.Create, true, false},
		"its spec changes":       {widget("blue", nil), widget("red", nil), admission.Update, true, false},
		"and its metadata":       {widget("blue", marked), widget("red", nil), admission.Update, true, false},
		"its metadata changes":   {widget("red", marked), widget("red", nil), admission.Update, false, true},
		"it is written as it is": {widget("red", nil), widget("red", nil), admission.Update, false, true},
	} {
		if got := asks(specChanged, tt.new, tt.old, tt.operation); got != tt.spec {
			t.Errorf("%s: asked as a change of spec: %t", name, got)
		}
		// Creations are none of its operations.
		if got := tt.operation == admission.Update && asks(marksChanged, tt.new, tt.old, tt.operation); got != tt.marks {
			t.Errorf("%s: asked as a change of metadata: %t", name, got)
		}
	}
}
