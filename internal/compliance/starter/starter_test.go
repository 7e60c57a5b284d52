package starter_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"atoll.dev/atoll/internal/compliance"
	"atoll.dev/atoll/internal/compliance/starter"
	"atoll.dev/atoll/internal/content"
)

// today is before the exemptions below end, and after those that have ended.
var today = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func check(t *testing.T, manifests string) compliance.Report {
	t.Helper()
	set, err := compliance.Compile(starter.Objects(true))
	if err != nil {
		t.Fatal(err)
	}
	objects, err := compliance.Read([]content.File{{Name: "m.yaml", Data: []byte(manifests)}})
	if err != nil {
		t.Fatal(err)
	}
	r, err := set.Check(t.Context(), objects, compliance.Options{Namespace: "default", Facts: true, Now: today})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// told is each violation in one line.
func told(r compliance.Report) []string {
	var lines []string
	for _, v := range r.Violations {
		line := fmt.Sprintf("%s %s %s: %s", v.Effect, v.Policy, v.Object, v.Message)
		if v.Exemption != nil {
			line += fmt.Sprintf(" [exempt until %s by %s: %s]", v.Exemption.Until, v.Exemption.Owner, v.Exemption.Fault)
		}
		lines = append(lines, line)
	}
	return lines
}

const good = `
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {cost-center: "42", pod-security.kubernetes.io/enforce: restricted}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: deny, namespace: shop}
spec: {podSelector: {}, policyTypes: [Ingress, Egress]}
---
apiVersion: v1
kind: ResourceQuota
metadata: {name: most, namespace: shop}
spec: {hard: {requests.cpu: "4"}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
      containers:
      - name: web
        image: registry.example:5000/web:1.2
        resources: {requests: {cpu: 100m}, limits: {memory: 64Mi}}
        securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader, namespace: shop}
rules: [{apiGroups: [""], resources: [pods], verbs: [get]}]
`

func TestWhatKeepsToAllPoliciesBreaksNone(t *testing.T) {
	r := check(t, good)
	if len(r.Violations) > 0 || len(r.Undecided) > 0 {
		t.Errorf("%v\n%v", told(r), r.Undecided)
	}
	if r.Objects != 5 || r.Policies != len(starter.Policies())+len(compliance.Facts) {
		t.Errorf("judged %d objects by %d policies", r.Objects, r.Policies)
	}
}

const bad = `
apiVersion: v1
kind: Namespace
metadata: {name: old}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly, namespace: old}
spec:
  schedule: "0 3 * * *"
  jobTemplate: {spec: {template: {spec: {
    hostPID: true, restartPolicy: Never, volumes: [{name: v, hostPath: {path: /}}],
    initContainers: [{name: setup, image: "registry.example:5000/setup"}],
    containers: [{name: main, image: "busybox:latest", securityContext: {privileged: true}}]}}}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: everything}
rules: [{apiGroups: ["*"], resources: ["*"], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: "system:everything"}
rules: [{apiGroups: ["*"], resources: ["*"], verbs: ["*"]}]
---
apiVersion: v1
kind: Pod
metadata: {name: agent, namespace: kube-system}
spec: {hostNetwork: true, containers: [{name: main, image: agent}]}
`

func TestWhatBreaksPoliciesIsToldByPolicyWorstFirst(t *testing.T) {
	want := []string{
		"Deny no-host-access CronJob.batch/nightly in old: privileged containers: main",
		"Deny no-host-access CronJob.batch/nightly in old: shares the network, the processes or the memory of its node",
		"Deny no-host-access CronJob.batch/nightly in old: mounts folders of its node (hostPath)",
		"Deny no-rbac-wildcards ClusterRole.rbac.authorization.k8s.io/everything: allows every verb or every resource (*)",
		"Deny pod-security-level Namespace/old: needs the label pod-security.kubernetes.io/enforce with baseline or restricted",
		"Audit network-default-deny Namespace/old: no NetworkPolicy selects all pods and denies what comes in: traffic is allowed from everywhere",
		`Audit pod-security CronJob.batch/nightly in old: level "baseline", the least that is asked for, is not met: host namespaces (hostPID=true), hostPath volumes (volume "v"), privileged (container "main" must not set securityContext.privileged=true)`,
		"Deny no-latest-image CronJob.batch/nightly in old: images without a version: busybox:latest, registry.example:5000/setup",
		"Deny required-labels Namespace/old: lacks the label cost-center",
		"Audit resource-quota Namespace/old: no ResourceQuota limits what old takes from the others",
		"Deny requests-set CronJob.batch/nightly in old: no requests for CPU or memory: main, setup",
	}
	if diff := cmp.Diff(want, told(check(t, bad))); diff != "" {
		t.Error(diff)
	}
}

func TestAnExemptionIsOwnedAndEnds(t *testing.T) {
	namespace := func(until, owner string) string {
		return fmt.Sprintf(`
apiVersion: v1
kind: Namespace
metadata:
  name: old
  labels: {cost-center: "1", pod-security.kubernetes.io/enforce: baseline, exempt.atoll.dev/no-latest-image: "%s"}
  annotations: {exempt.atoll.dev/no-latest-image: "%s"}
---
apiVersion: v1
kind: Pod
metadata: {name: p, namespace: old}
spec: {containers: [{name: c, image: busybox, resources: {limits: {cpu: 1, memory: 1Gi}}}]}
`, until, owner)
	}
	for name, c := range map[string]struct {
		until, owner, fault string
		counts              bool
	}{
		"on its last day":    {until: "2026-11-22", owner: "ana: moves in March"},
		"the day after":      {until: "2026-11-21", owner: "ana: moves in March", counts: true, fault: "ended with 2026-11-21"},
		"that nobody owns":   {until: "2027-01-01", counts: true, fault: "nobody owns"},
		"that has no end":    {until: "true", owner: "ana: for ever", counts: true, fault: "has no day"},
		"of another century": {until: "99999-01-01", owner: "ana", counts: true, fault: "has no day"},
	} {
		t.Run(name, func(t *testing.T) {
			r := check(t, namespace(c.until, c.owner))
			i := slices.IndexFunc(r.Violations, func(v compliance.Violation) bool { return v.Policy == "no-latest-image" })
			if i < 0 {
				t.Fatalf("the violation is not told: %v", told(r))
			}
			v := r.Violations[i]
			if v.Exemption == nil || v.Exemption.Until != c.until || !strings.Contains(v.Exemption.Fault, c.fault) || v.Counts() != c.counts {
				t.Errorf("%+v", v.Exemption)
			}
		})
	}
}

func TestEveryControlIsOneThatItsFrameworkHas(t *testing.T) {
	perFramework := map[string]int{}
	judge := func(name string, controls []string) {
		if len(controls) == 0 {
			t.Errorf("%s supports no control", name)
		}
		for _, c := range controls {
			if !compliance.Known(c) {
				t.Errorf("%s: %s is no control of a framework here", name, c)
			}
			framework, _, _ := strings.Cut(c, "/")
			perFramework[framework]++
		}
	}
	for _, p := range starter.Policies() {
		judge(p.GetName(), strings.Fields(p.GetAnnotations()[compliance.ControlsKey]))
		if p.GetAnnotations()[starter.TitleKey] == "" || p.GetAnnotations()[compliance.SeverityKey] == "" || !compliance.Exemptible(p.GetName()) {
			t.Errorf("%s has no title or severity, or cannot be exempt from", p.GetName())
		}
	}
	for _, f := range compliance.Facts {
		judge(f.Name, f.Controls)
	}
	for _, id := range compliance.FrameworkIDs() {
		if perFramework[id] == 0 {
			t.Errorf("no policy supports a control of %s", id)
		}
	}
}

func TestTheExampleIsWhatIsPrinted(t *testing.T) {
	data, err := os.ReadFile("../../../examples/policies/deploy/starter.yaml")
	if err != nil {
		t.Fatal(err)
	}
	given, err := compliance.Read([]content.File{{Name: "starter.yaml", Data: data}})
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]any{}
	for _, u := range given {
		byName[u.GetKind()+" "+u.GetName()] = u.Object
	}
	want := map[string]any{}
	for _, u := range starter.Objects(false) {
		want[u.GetKind()+" "+u.GetName()] = u.Object
	}
	if diff := cmp.Diff(want, byName); diff != "" {
		t.Errorf("print it again with `atoll policy starter --audit`: %s", diff)
	}
}

// A repository of one application has neither the quota nor the default of the
// network of its namespace, and what is in another's hands is not held against it.
func TestOnlyANamespaceThatIsGivenNeedsQuotaAndDefaultDeny(t *testing.T) {
	_, alone, _ := strings.Cut(good, "kind: ResourceQuota")
	_, alone, _ = strings.Cut(alone, "---")
	if r := check(t, alone); r.Objects != 2 || len(r.Violations) > 0 {
		t.Errorf("%d objects: %v", r.Objects, told(r))
	}
}

// What comes with policies tells what namespaces are like, and is not judged.
func TestTheNamespacesBesidePoliciesCount(t *testing.T) {
	namespace, err := compliance.Read([]content.File{{Name: "n.yaml", Data: []byte(`
{apiVersion: v1, kind: Namespace, metadata: {name: old, labels: {exempt.atoll.dev/no-latest-image: "2027-01-01"}, annotations: {exempt.atoll.dev/no-latest-image: "ana: soon", atoll.dev/owner: team-a}}}`)}})
	if err != nil {
		t.Fatal(err)
	}
	set, err := compliance.Compile(append(starter.Objects(true), namespace...))
	if err != nil {
		t.Fatal(err)
	}
	pod, err := compliance.Read([]content.File{{Name: "p.yaml", Data: []byte(`
{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: old}, spec: {containers: [{name: c, image: web, resources: {limits: {cpu: 1, memory: 1Gi}}}]}}`)}})
	if err != nil {
		t.Fatal(err)
	}
	r, err := set.Check(t.Context(), pod, compliance.Options{Now: today})
	if err != nil || len(r.Violations) != 1 || r.Violations[0].Counts() || r.Violations[0].Owner != "team-a" || r.Objects != 1 {
		t.Errorf("%v %v", err, told(r))
	}
}

// What is printed for delivery must read as what is judged by.
func TestTheSetKeepsToItself(t *testing.T) {
	set, err := compliance.Compile(starter.Objects(false))
	if err != nil {
		t.Fatal(err)
	}
	var plain []*unstructured.Unstructured
	for _, u := range starter.Objects(false) {
		if !compliance.IsPolicy(u) {
			plain = append(plain, u)
		}
	}
	r, err := set.Check(t.Context(), plain, compliance.Options{Facts: true, Now: today})
	if err != nil || len(r.Violations) > 0 {
		t.Errorf("%v %v", err, told(r))
	}
}
