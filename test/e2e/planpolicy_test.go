package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	fleetapi "atoll.dev/atoll/internal/fleet"
)

// rule refuses one name, so that what stays of it after the test is in nobody's way.
const rule = `
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: planned-forbids, annotations: {atoll.dev/severity: high}}
spec:
  matchConstraints:
    resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [configmaps], resourceNames: [forbidden]}]
  validations: [{expression: "object.data.value != 'bad'", messageExpression: "'says ' + object.data.value + ' in ' + namespaceObject.metadata.name"}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: planned-forbids}
spec: {policyName: planned-forbids, validationActions: [Deny]}
`

func TestAPlanTellsWhatThePoliciesOfAClusterWillRefuse(t *testing.T) {
	f := fleet(t)
	a := f.Member("a").Client()
	t.Cleanup(func() { // after the projects have gone, or it would be put back
		for _, o := range []client.Object{&admissionv1.ValidatingAdmissionPolicyBinding{}, &admissionv1.ValidatingAdmissionPolicy{}} {
			o.SetName("planned-forbids")
			_ = a.Delete(context.Background(), o) // best effort: nothing else has that name
		}
	})
	f.Project("rulers", func(p *v1alpha1.ProjectSpec) { p.Privileged = true })
	f.Project("ruled")
	f.Deploy("rulers", "policies", rule, "--cluster", "a").Settles(1)

	r := f.Hub.CLIWith(configMap("forbidden", "bad")+"---\n"+configMap("allowed", "bad"), "plan", "shop", "-p", "ruled", "-f", "-", "--to", "stage=production", "-o", "json")
	var answer fleetapi.PlanAnswer
	if err := json.Unmarshal([]byte(r.Stdout), &answer); err != nil || r.Code != 1 || len(answer.Plans) != 1 {
		t.Fatalf("%v: %s", err, r)
	}
	told := answer.Plans[0].Policies
	if len(told) != 1 || told[0].Policy != "planned-forbids" || told[0].Effect != "Deny" || told[0].Severity != "high" ||
		told[0].Ref.Name != "forbidden" || told[0].Message != "says bad in ruled" || !slices.Equal(told[0].Clusters, []string{"a"}) {
		t.Errorf("the plan tells %+v", told)
	}
	if r := f.Hub.CLIWith(configMap("forbidden", "good"), "plan", "shop", "-p", "ruled", "-f", "-", "--to", "stage=production", "-o", "text"); has(r.Stdout, "Policy") {
		t.Errorf("what keeps to the policy is told: %s", r)
	}
	refused := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "forbidden"}, Data: map[string]string{"value": "bad"}}
	eventually(t, "the refusal by the member itself", func(ctx context.Context) error {
		if err := a.Create(ctx, refused.DeepCopy(), client.DryRunAll); err == nil || !has(err.Error(), "says bad in default") {
			return fmt.Errorf("it answers %v", err)
		}
		return nil
	})
}
