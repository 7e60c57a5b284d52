package health_test

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/json"
	"pgregory.net/rapid"
	"sigs.k8s.io/yaml"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/health"
	"atoll.dev/atoll/internal/report"
)

var seen = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func object(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	data, err := yaml.YAMLToJSONStrict([]byte(text))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	obj := &unstructured.Unstructured{}
	if err := json.Unmarshal(data, &obj.Object); err != nil {
		t.Fatal(err)
	}
	return obj
}

const (
	deployment = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, generation: 2}\nspec: {replicas: 2, progressDeadlineSeconds: 600}\n"
	job        = "apiVersion: batch/v1\nkind: Job\nmetadata: {name: seed}\n"
	pod        = "apiVersion: v1\nkind: Pod\nmetadata: {name: web, creationTimestamp: '2026-01-02T03:04:05Z'}\n"
	custom     = "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: w, generation: 2}\n"
)

func TestAssess(t *testing.T) {
	tests := []struct {
		name, text string
		want       report.Health
		says       string
	}{
		{"configuration is healthy at once", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}", report.HealthHealthy, ""},
		{"so are access rules", "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: a}", report.HealthHealthy, ""},
		{"so is an Ingress that no controller gives an address", "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: a}", report.HealthHealthy, ""},
		{"an autoscaler is", "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: a}\nstatus: {currentReplicas: 1}", report.HealthHealthy, ""},

		{"a Deployment without a status is on its way", deployment, report.HealthProgressing, "Replicas: 0/2"},
		{"one whose change its controller has not seen", deployment + "status: {observedGeneration: 1, replicas: 2, updatedReplicas: 2, readyReplicas: 2, availableReplicas: 2}", report.HealthProgressing, "generation 1 of 2"},
		{"one that is available", deployment + "status: {observedGeneration: 2, replicas: 2, updatedReplicas: 2, readyReplicas: 2, availableReplicas: 2, conditions: [{type: Available, status: 'True'}, {type: Progressing, status: 'True', reason: NewReplicaSetAvailable}]}", report.HealthHealthy, "available"},
		{"one past its progress deadline", deployment + "status: {observedGeneration: 2, replicas: 2, conditions: [{type: Progressing, status: 'False', reason: ProgressDeadlineExceeded}]}", report.HealthDegraded, "deadline"},
		{"one whose pods a quota refuses", deployment + "status: {observedGeneration: 2, conditions: [{type: ReplicaFailure, status: 'True', reason: FailedCreate, message: exceeded quota}]}", report.HealthDegraded, "exceeded quota"},
		{"one that is being deleted", strings.Replace(deployment, "{name: web", "{name: web, deletionTimestamp: '2026-01-02T03:04:05Z', finalizers: [x/y]", 1), report.HealthProgressing, "waiting for x/y"},

		{"a job that runs", job + "status: {startTime: '2026-01-02T03:04:05Z', active: 1}", report.HealthProgressing, "not done: 1 pods running"},
		{"a job that is done", job + "status: {conditions: [{type: Complete, status: 'True'}]}", report.HealthHealthy, "done"},
		{"a job that failed", job + "status: {conditions: [{type: Failed, status: 'True', reason: BackoffLimitExceeded, message: too many}]}", report.HealthDegraded, "BackoffLimitExceeded: too many"},
		{"a job that shall wait", job + "spec: {suspend: true}", report.HealthHealthy, "suspended"},

		{"a claim that waits for a volume", "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: a}\nstatus: {phase: Pending}", report.HealthProgressing, "not bound"},
		{"a claim that is bound", "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: a}\nspec: {volumeName: v}\nstatus: {phase: Bound}", report.HealthHealthy, "bound to v"},
		{"a claim that lost its volume", "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: a}\nspec: {volumeName: v}\nstatus: {phase: Lost}", report.HealthDegraded, "lost"},

		{"a service inside the cluster", "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {clusterIP: 10.0.0.1}", report.HealthHealthy, ""},
		{"a load balancer without an address", "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {type: LoadBalancer, clusterIP: 10.0.0.1}\nstatus: {loadBalancer: {}}", report.HealthProgressing, "address"},
		{"a load balancer with one", "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {type: LoadBalancer, clusterIP: 10.0.0.1}\nstatus: {loadBalancer: {ingress: [{ip: 1.2.3.4}]}}", report.HealthHealthy, ""},

		{"a pod that crashes again and again", pod + "status: {phase: Running, containerStatuses: [{name: c, state: {waiting: {reason: CrashLoopBackOff}}}]}", report.HealthDegraded, "c CrashLoopBackOff"},
		{"a pod that failed", pod + "status: {phase: Failed, reason: Evicted}", report.HealthDegraded, "Evicted"},
		{"a pod whose image is pulled", pod + "status: {phase: Pending, containerStatuses: [{name: c, state: {waiting: {reason: ImagePullBackOff}}}]}", report.HealthProgressing, "c ImagePullBackOff"},
		{"a pod that is ready", pod + "status: {phase: Running, conditions: [{type: Ready, status: 'True'}]}", report.HealthHealthy, ""},
		{"a pod that no node takes, from the first moment", pod + "status: {phase: Pending, conditions: [{type: PodScheduled, status: 'False', reason: Unschedulable, message: no room}]}", report.HealthProgressing, "no node yet"},

		{"a namespace that goes", "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\nstatus: {phase: Terminating}", report.HealthProgressing, "being deleted"},
		{"a definition not served yet", "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: a}", report.HealthProgressing, "Install"},
		{"an API whose server is away", "apiVersion: apiregistration.k8s.io/v1\nkind: APIService\nmetadata: {name: a}\nstatus: {conditions: [{type: Available, status: 'False', reason: MissingEndpoints}]}", report.HealthDegraded, "MissingEndpoints"},

		{"a custom resource that says Ready", custom + "status: {conditions: [{type: Ready, status: 'True'}]}", report.HealthHealthy, "Ready is True"},
		{"one that says not Ready", custom + "status: {conditions: [{type: Ready, status: 'False', reason: NoRoom, message: full}]}", report.HealthProgressing, "NoRoom: full"},
		{"one whose Ready is of an earlier generation", custom + "status: {conditions: [{type: Ready, status: 'True', observedGeneration: 1}]}", report.HealthProgressing, "earlier generation"},
		{"one that is stalled", custom + "status: {conditions: [{type: Stalled, status: 'True', reason: Bad}, {type: Ready, status: 'True'}]}", report.HealthDegraded, "Bad"},
		{"a gateway accepted but not programmed", custom + "status: {conditions: [{type: Accepted, status: 'True'}, {type: Programmed, status: 'False', reason: Pending}]}", report.HealthProgressing, "Programmed is False"},
		{"one that only tells what it has seen", custom + "status: {observedGeneration: 2}", report.HealthHealthy, "seen the last change"},
		{"one that says nothing", custom, report.HealthUnknown, "said nothing"},
		{"one that speaks in words of its own", custom + "status: {conditions: [{type: Blue, status: 'True'}]}", report.HealthUnknown, "said nothing"},
		{"one with a status of the wrong shape", custom + "status: hello", report.HealthUnknown, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := health.Assess(object(t, tt.text), nil, seen, seen.Add(time.Second))
			if got.Health != tt.want || !strings.Contains(got.Message, tt.says) || got.Assumed {
				t.Errorf("got %+v, want %s with %q, not assumed", got, tt.want, tt.says)
			}
		})
	}
}

func TestSilenceIsHealthOnlyByAssumptionAndOnlyAfterAMinute(t *testing.T) {
	obj := object(t, custom)
	before := health.Assess(obj, nil, seen, seen.Add(health.SilenceWindow-time.Nanosecond))
	if before.Health != report.HealthUnknown || !before.Recheck.Equal(seen.Add(health.SilenceWindow)) {
		t.Errorf("before: %+v", before)
	}
	after := health.Assess(obj, nil, seen, before.Recheck)
	if after.Health != report.HealthHealthy || !after.Assumed {
		t.Errorf("after: %+v", after)
	}
}

func TestAPodWithoutANodeIsDegradedInTheEnd(t *testing.T) {
	obj := object(t, pod+"status: {phase: Pending, conditions: [{type: PodScheduled, status: 'False', reason: Unschedulable, message: no room}]}")
	got := health.Assess(obj, nil, seen, seen.Add(time.Minute))
	if got.Health != report.HealthDegraded || !strings.Contains(got.Message, "no room") {
		t.Errorf("got %+v", got)
	}
}

func TestRules(t *testing.T) {
	widget := func(healthy, degraded string, assume bool) v1alpha1.HealthRule {
		return v1alpha1.HealthRule{Group: "example.com", Kind: "Widget", Healthy: healthy, Degraded: degraded, AssumeHealthy: assume}
	}
	phase := widget("object.status.phase == 'Up'", "object.status.phase == 'Down'", false)
	slow := widget("range(object).all(x, true)", "", false)
	slow.Healthy = "object.l.all(a, object.l.all(b, object.l.all(c, a + b + c >= 0)))"
	long := custom + "l: [" + strings.TrimSuffix(strings.Repeat("1,", 200), ",") + "]\n"
	tests := []struct {
		name string
		rule v1alpha1.HealthRule
		text string
		age  time.Duration
		want report.Health
		says string
	}{
		{"healthy holds", phase, custom + "status: {phase: Up}", 0, report.HealthHealthy, ""},
		{"degraded wins", widget("true", "object.status.phase == 'Down'", false), custom + "status: {phase: Down}", 0, report.HealthDegraded, ""},
		{"neither holds", phase, custom + "status: {phase: Odd}", time.Hour, report.HealthProgressing, ""},
		{"a field that is not there yet", phase, custom, time.Hour, report.HealthProgressing, ""},
		{"an element that is not there yet", widget("object.status.parts[0].up", "", false), custom + "status: {parts: []}", time.Hour, report.HealthProgressing, ""},
		{"a rule that answers no condition", widget("object.status.phase", "", false), custom + "status: {phase: Up}", 0, report.HealthUnknown, "true or false"},
		{"a rule that costs too much", slow, long, 0, report.HealthUnknown, "cost"},
		{"the controller is behind", phase, custom + "status: {phase: Up, observedGeneration: 1}", 0, report.HealthProgressing, "generation"},
		{"silence that the application accepts, too early", widget("object.status.phase == 'Up'", "", true), custom, time.Second, report.HealthUnknown, ""},
		{"silence that the application accepts", widget("object.status.phase == 'Up'", "", true), custom, time.Hour, report.HealthHealthy, "accepts"},
		{"what is accepted is silence, not a bad word", widget("object.status.phase == 'Up'", "", true), custom + "status: {phase: Odd}", time.Hour, report.HealthProgressing, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rules, err := health.Compile([]v1alpha1.HealthRule{tt.rule})
			if err != nil {
				t.Fatal(err)
			}
			got := health.Assess(object(t, tt.text), rules, seen, seen.Add(tt.age))
			if got.Health != tt.want || !strings.Contains(got.Message, tt.says) || got.Assumed {
				t.Errorf("got %+v, want %s with %q, not assumed", got, tt.want, tt.says)
			}
		})
	}
}

func TestARuleOverridesABuiltInKindAndNoOther(t *testing.T) {
	rules, err := health.Compile([]v1alpha1.HealthRule{{Group: "batch", Kind: "Job", Healthy: "true"}})
	if err != nil {
		t.Fatal(err)
	}
	running := job + "status: {active: 1}"
	if got := health.Assess(object(t, running), rules, seen, seen); got.Health != report.HealthHealthy {
		t.Errorf("the rule does not count: %+v", got)
	}
	if got := health.Assess(object(t, deployment), rules, seen, seen); got.Health != report.HealthProgressing {
		t.Errorf("the rule reaches another kind: %+v", got)
	}
}

func TestCompileNamesEveryBadRule(t *testing.T) {
	_, err := health.Compile([]v1alpha1.HealthRule{
		{Kind: "A", Healthy: "object."},
		{Group: "g", Kind: "B", Healthy: "1 + 1"},
		{Kind: "C", Healthy: "true", Degraded: "nope == 1"},
	})
	if err == nil {
		t.Fatal("bad rules were accepted")
	}
	for _, want := range []string{"health rule of A: healthy:", "health rule of B.g: healthy:", "is a int", "health rule of C: degraded:", "undeclared reference to 'nope'"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in:\n%v", want, err)
		}
	}
}

func TestWorst(t *testing.T) {
	all := []report.Health{report.HealthHealthy, report.HealthProgressing, report.HealthUnknown, report.HealthDegraded}
	if got := health.Worst(); got != report.HealthHealthy {
		t.Errorf("nothing is %s", got)
	}
	rapid.Check(t, func(t *rapid.T) {
		list := rapid.SliceOf(rapid.SampledFrom(all)).Draw(t, "list")
		got := health.Worst(list...)
		for _, h := range list {
			if health.Worst(h, got) != got {
				t.Fatalf("%s is worse than %s", h, got)
			}
		}
		if len(list) > 0 && health.Worst(rapid.Permutation(list).Draw(t, "order")...) != got {
			t.Fatal("the order matters")
		}
	})
}

func FuzzAssess(f *testing.F) {
	f.Add([]byte(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"},"status":{"phase":"Running","containerStatuses":[{"name":"c","state":{"waiting":{"reason":"CrashLoopBackOff"}}}]}}`))
	f.Add([]byte(`{"apiVersion":"example.com/v1","kind":"Widget","metadata":{"name":"a","generation":2.5},"status":{"observedGeneration":"x","conditions":[5,{"type":7}]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		obj := &unstructured.Unstructured{}
		if json.Unmarshal(data, &obj.Object) != nil || obj.Object == nil {
			return
		}
		got := health.Assess(obj, nil, seen, seen)
		if health.Worst(got.Health) != got.Health {
			t.Fatalf("%q is no health", got.Health)
		}
	})
}
