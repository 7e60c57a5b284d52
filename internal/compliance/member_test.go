package compliance_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"

	"atoll.dev/atoll/internal/compliance"
	"atoll.dev/atoll/internal/compliance/starter"
	"atoll.dev/atoll/internal/content"
	"atoll.dev/atoll/internal/defaulting"
	"atoll.dev/atoll/internal/sandbox"
)

// further are policies that use what those of the starter set do not: defaults,
// parameters that are missing, failure policies, exclusions, other actions, the
// request, the namespace, and errors while evaluating.
const further = `
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: replicas}
spec:
  paramKind: {apiVersion: v1, kind: ConfigMap}
  matchConstraints:
    resourceRules: [{apiGroups: [apps], apiVersions: [v1], operations: ["*"], resources: [deployments]}]
    excludeResourceRules: [{apiGroups: [apps], apiVersions: [v1], operations: ["*"], resources: [deployments], resourceNames: [free]}]
  validations:
  - {expression: "object.spec.replicas <= int(params.data.most)", messageExpression: "'has ' + string(object.spec.replicas) + ' replicas of ' + params.data.most"}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: replicas}
spec: {policyName: replicas, validationActions: [Deny], paramRef: {name: most, parameterNotFoundAction: Deny}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: errors}
spec:
  failurePolicy: Ignore
  matchConstraints:
    resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [configmaps]}]
  validations:
  - {expression: "object.data.a == 'b'"}
  - {expression: "request.name != 'named' && request.namespace == namespaceObject.metadata.name", message: is named}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: errors}
spec: {policyName: errors, validationActions: [Deny]}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: warned}
spec:
  matchConstraints:
    resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [services]}]
  matchConditions: [{name: not-headless, expression: "object.spec.clusterIP != 'None'"}]
  variables: [{name: types, expression: "['ClusterIP']"}]
  validations: [{expression: "object.spec.type in variables.types"}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: warned}
spec: {policyName: warned, validationActions: [Warn]}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: costly}
spec:
  matchConstraints:
    resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [serviceaccounts]}]
  variables: [{name: l, expression: "[0,1,2,3,4,5,6,7,8,9]"}]
  validations:
  - expression: >-
      variables.l.all(a, variables.l.all(b, variables.l.all(c, variables.l.all(d, variables.l.all(e,
      variables.l.all(f, a + b + c + d + e + f >= 0))))))
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: costly}
spec: {policyName: costly, validationActions: [Deny]}
`

// sentinel is bound last: once it refuses, all before it are in force.
const sentinel = `
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: zz-sentinel}
spec:
  matchConstraints:
    resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [configmaps]}]
  validations: [{expression: "object.metadata.name != 'sentinel'"}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: zz-sentinel}
spec: {policyName: zz-sentinel, validationActions: [Deny]}
`

// there is what is in the member before the policies are.
const there = `
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {cost-center: "1", pod-security.kubernetes.io/enforce: baseline}}
---
apiVersion: v1
kind: Namespace
metadata: {name: old, labels: {cost-center: "1", pod-security.kubernetes.io/enforce: baseline, exempt.atoll.dev/no-latest-image: "2026-12-31"}, annotations: {exempt.atoll.dev/no-latest-image: "ana: soon"}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: most, namespace: shop}
data: {most: "3"}
`

// candidates are given to both.
const candidates = `
{apiVersion: v1, kind: Namespace, metadata: {name: bare}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: half, labels: {cost-center: "", pod-security.kubernetes.io/enforce: privileged}}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: whole, labels: {cost-center: "7", pod-security.kubernetes.io/enforce: restricted}}}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: all}, rules: [{apiGroups: [""], resources: [pods], verbs: ["*"]}]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: none}}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: some, namespace: shop}, rules: [{apiGroups: [""], resources: [pods], verbs: [get]}]}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: errs, namespace: shop}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: differs, namespace: shop}, data: {a: c}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: named, namespace: shop}, data: {a: b}}
---
{apiVersion: v1, kind: Service, metadata: {name: warns, namespace: shop}, spec: {type: NodePort, ports: [{port: 80}]}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: costs, namespace: shop}}
`

// deployments differ in what policies look at.
func deployments() string {
	const form = `---
apiVersion: apps/v1
kind: Deployment
metadata: {name: %s, namespace: %s}
spec:
  %s
  selector: {matchLabels: {a: b}}
  template:
    metadata: {labels: {a: b}}
    spec: {%s containers: [{name: c, image: %q, %s resources: {%s limits: {memory: 1Gi, cpu: 1}}}]}
`
	var all strings.Builder
	for _, d := range [][]any{
		{"plain", "shop", "", "", "registry:5000/web:1", "", ""},
		{"many", "shop", "replicas: 4", "", "web:1", "", ""},
		{"free", "shop", "replicas: 9", "", "web:1", "", ""},
		{"three", "shop", "replicas: 3", "", "web@sha256:" + strings.Repeat("a", 64), "", ""},
		{"latest", "shop", "", "", "web:latest", "", ""},
		{"untagged", "shop", "", "", "registry:5000/web", "", ""},
		{"privileged", "shop", "", "", "web:1", "securityContext: {privileged: true},", ""},
		{"unprivileged", "shop", "", "", "web:1", "securityContext: {privileged: false},", ""},
		{"network", "shop", "", "hostNetwork: true,", "web:1", "", ""},
		{"folder", "shop", "", "volumes: [{name: v, hostPath: {path: /}}],", "web:1", "", ""},
		{"setup", "shop", "", "initContainers: [{name: i, image: web:1}],", "web:1", "", ""},
		// There is no parameter in this namespace, and it is exempt from one policy.
		{"unlimited", "old", "", "", "web:1", "", ""},
		{"exempt", "old", "", "", "web", "", ""},
	} {
		fmt.Fprintf(&all, form, d...)
	}
	return all.String()
}

func manifests(t testing.TB, text string) []*unstructured.Unstructured {
	t.Helper()
	objects, err := compliance.Read([]content.File{{Name: "m.yaml", Data: []byte(text)}})
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

type member struct{ dynamic.Interface }

func (m member) create(ctx context.Context, u *unstructured.Unstructured, dry ...string) error {
	gvk := u.GroupVersionKind()
	plural := strings.ToLower(gvk.Kind) + "s"
	if base, ok := strings.CutSuffix(plural, "ys"); ok {
		plural = base + "ies"
	}
	gvr := gvk.GroupVersion().WithResource(plural)
	_, err := m.Resource(schema.GroupVersionResource(gvr)).Namespace(u.GetNamespace()).Create(ctx, u, metav1.CreateOptions{DryRun: dry})
	return err
}

// TestAMemberRefusesWhatIsToldHere gives the same objects to a real API server that
// has the same policies, and wants the same verdict with the same words.
func TestAMemberRefusesWhatIsToldHere(t *testing.T) {
	config, err := sandbox.Shared(t, "member").RESTConfig()
	if err != nil {
		t.Fatal(err)
	}
	config.QPS = -1
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	m := member{client}
	given, candidates := manifests(t, there), manifests(t, candidates+deployments())
	policies := append(append(starter.Objects(true), manifests(t, further)...), manifests(t, sentinel)...)
	enforce(t, m, append(slices.Clone(given), policies...))

	set, err := compliance.Compile(policies)
	if err != nil {
		t.Fatal(err)
	}
	judged := append(slices.Clone(given), candidates...)
	for i, u := range judged {
		judged[i] = u.DeepCopy()
		if err := defaulting.Fill(judged[i]); err != nil {
			t.Fatal(err)
		}
	}
	r, err := set.Check(t.Context(), judged, compliance.Options{Now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)})
	if err != nil {
		t.Fatal(err)
	}
	refusals := 0
	for _, u := range candidates {
		want := words(r, u)
		refusals += min(1, len(want))
		agrees(t, m, u, want)
	}
	if refusals < 10 || refusals > len(candidates)-5 {
		t.Errorf("%d of %d are refused, which tells little", refusals, len(candidates))
	}
}

// enforce makes policies and waits until the last of them refuses.
func enforce(t *testing.T, m member, objects []*unstructured.Unstructured) {
	t.Helper()
	for _, u := range objects {
		if err := m.create(t.Context(), u); err != nil {
			t.Fatalf("make %s %s: %v", u.GetKind(), u.GetName(), err)
		}
	}
	probe := manifests(t, "{apiVersion: v1, kind: ConfigMap, metadata: {name: sentinel, namespace: shop}, data: {a: b}}")[0]
	err := wait.PollUntilContextTimeout(t.Context(), 200*time.Millisecond, 5*time.Minute, true, func(ctx context.Context) (bool, error) {
		err := m.create(ctx, probe, metav1.DryRunAll)
		return err != nil && strings.Contains(err.Error(), "zz-sentinel"), nil
	})
	if err != nil {
		t.Fatalf("the policies are not in force: %v", err)
	}
}

// words are the messages for which an object is refused.
func words(r compliance.Report, u *unstructured.Unstructured) []string {
	var all []string
	for _, v := range r.Violations {
		ref := v.Object
		if v.Effect == compliance.Deny && v.Exemption == nil && ref.Kind == u.GetKind() && ref.Name == u.GetName() && ref.Namespace == u.GetNamespace() {
			all = append(all, fmt.Sprintf("ValidatingAdmissionPolicy '%s' with binding '%s' denied request: %s", v.Policy, v.Binding, v.Message))
		}
	}
	return all
}

// agrees waits until the member gives the verdict: its informers of parameters begin
// with the first object that they are for. It names one of the policies that refuse.
func agrees(t *testing.T, m member, u *unstructured.Unstructured, want []string) {
	t.Helper()
	var last error
	err := wait.PollUntilContextTimeout(t.Context(), 200*time.Millisecond, 2*time.Minute, true, func(ctx context.Context) (bool, error) {
		last = m.create(ctx, u, metav1.DryRunAll)
		if last == nil {
			return len(want) == 0, nil
		}
		if !apierrors.IsInvalid(last) && !apierrors.IsForbidden(last) {
			return false, nil
		}
		return slices.ContainsFunc(want, func(w string) bool { return strings.Contains(last.Error(), w) }), nil
	})
	if err != nil {
		t.Errorf("%s %s: the member says %v, and here it is %q", u.GetKind(), u.GetName(), last, want)
	}
}
