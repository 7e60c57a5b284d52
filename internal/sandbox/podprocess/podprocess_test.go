package podprocess

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/record"
	"pgregory.net/rapid"
)

func TestOnlyTheAgentsImageIsRun(t *testing.T) {
	for image, want := range map[string]string{
		"atoll-agent":        "latest",
		"atoll-agent:v1.2.3": "v1.2.3",
		"registry.example.org:5000/a/atoll-agent":  "latest",
		"r.example.org/atoll-agent:dev@sha256:abc": "dev",
		"atoll-agent@sha256:abc":                   "",
	} {
		if tag, isOurs := tagOf(image); !isOurs || tag != want {
			t.Errorf("%s: %q, %v", image, tag, isOurs)
		}
	}
	for _, image := range []string{"", "atoll", "my-atoll-agent:1", "atoll-agent-x:1", "atoll-agent/x", "atoll-agent:1/x", "sh", "x@atoll-agent"} {
		if _, isOurs := tagOf(image); isOurs {
			t.Errorf("%s would be run", image)
		}
	}
}

// A pod may be delivered by someone who has no account on this machine.
func TestNoWordOfAPodNamesAFileOfThisMachine(t *testing.T) {
	r := root("/sandbox/root")
	word := rapid.StringMatching(`(-[a-z-]{0,4}=?)?(/|\.\.|\.|[a-z]|=|//){0,8}`)
	rapid.Check(t, func(t *rapid.T) {
		in := word.Draw(t, "word")
		out, err := r.word(in)
		if err != nil {
			return
		}
		_, value, _ := strings.Cut(out, "=")
		if strings.HasPrefix(in, "/") {
			value = "" // one path, whatever is in it
		}
		for _, path := range []string{out, value} {
			if filepath.IsAbs(path) && !strings.HasPrefix(filepath.Clean(path), "/sandbox/root") || strings.Contains("/"+path+"/", "/../") {
				t.Fatalf("%q became %q", in, out)
			}
		}
	})
	env := r.environment(map[string]string{"A": "a", "SKEW": "/cluster/skew"}, map[string]string{"LD_PRELOAD": "/x.so", "PATH": "/bin", "KUBECONFIG": "/root/.kube/config", "A": "b"})
	want := []string{MountPointVariable + "=/sandbox/root", "SKEW=/cluster/skew", "A=b", "KUBECONFIG=/sandbox/root/root/.kube/config", "PATH=/bin"}
	if diff := cmp.Diff(want, env); diff != "" {
		t.Error(diff)
	}
}

func TestTheTagChoosesTheProgramAndIsKeptWhenItIsBuiltAnew(t *testing.T) {
	i := &images{from: t.TempDir(), kept: filepath.Join(t.TempDir(), "images")}
	write := func(name, version string) {
		t.Helper()
		path := filepath.Join(i.from, name)
		_ = os.Remove(path) // as a build does
		if err := os.WriteFile(path, []byte("#!/bin/sh\necho atoll-agent version "+version+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	pull := func(tag string, policy corev1.PullPolicy) string {
		t.Helper()
		path, err := i.pull(context.Background(), "x/atoll-agent:"+tag, policy)
		if err != nil {
			return err.Error()
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Fields(string(data))[4]
	}
	if got := pull("one", ""); !strings.Contains(got, "build it") {
		t.Errorf("without any program: %s", got)
	}
	write("atoll-agent", "one")
	write("atoll-agent-two", "two")
	for tag, want := range map[string]string{"one": "one", "two": "two", "latest": "one", "dev": "one"} {
		if got := pull(tag, ""); got != want {
			t.Errorf("%s: got %s", tag, got)
		}
	}
	if got := pull("three", ""); !strings.Contains(got, `is "atoll-agent version one"`) {
		t.Errorf("a tag that nothing is called: %s", got)
	}
	write("atoll-agent", "four")
	if got := pull("one", corev1.PullIfNotPresent); got != "one" {
		t.Errorf("what was pulled is now %s", got)
	}
	if got := pull("latest", corev1.PullAlways); got != "four" {
		t.Errorf("always pulled: %s", got)
	}
	if got := pull("five", corev1.PullNever); !strings.Contains(got, "Never") {
		t.Errorf("never pulled: %s", got)
	}
}

func TestMountsAreFilesUnderTheRoot(t *testing.T) {
	dir := t.TempDir()
	volumes := filepath.Join(dir, "volumes")
	if err := os.MkdirAll(filepath.Join(volumes, "boot"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := (files{"a/token": []byte("1")}).writeTo(filepath.Join(volumes, "boot")); err != nil {
		t.Fatal(err)
	}
	r := root(filepath.Join(dir, "root"))
	for range 2 { // a container that is started again
		if err := r.mount([]corev1.VolumeMount{{Name: "boot", MountPath: "/etc/../../etc/atoll"}}, volumes); err != nil {
			t.Fatal(err)
		}
	}
	if data, err := os.ReadFile(r.at("/etc/atoll/a/token")); err != nil || string(data) != "1" {
		t.Errorf("%q, %v", data, err)
	}
	if err := (files{"../../out": nil}).writeTo(filepath.Join(volumes, "boot")); err == nil {
		t.Error("a file was written outside of its volume")
	}
	for _, wrong := range [][]corev1.VolumeMount{
		{{Name: "boot", MountPath: "/b", SubPath: "../../.."}},
		{{Name: "boot", MountPath: "/b"}, {Name: "boot", MountPath: "/b/c"}},
	} {
		if err := root(t.TempDir()).mount(wrong, volumes); err == nil {
			t.Errorf("mounted: %v", wrong)
		}
	}
}

func TestThePhaseIsThatOfTheContainers(t *testing.T) {
	waiting := corev1.ContainerStatus{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{}}}
	crashing := waiting
	crashing.LastTerminationState.Terminated = &corev1.ContainerStateTerminated{ExitCode: 1}
	running := corev1.ContainerStatus{Ready: true, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}
	ended := func(code int32) corev1.ContainerStatus {
		return corev1.ContainerStatus{State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code}}}
	}
	for _, tt := range []struct {
		name       string
		containers []corev1.ContainerStatus
		policy     corev1.RestartPolicy
		phase      corev1.PodPhase
		ready      corev1.ConditionStatus
	}{
		{"one that never began holds the pod up", []corev1.ContainerStatus{running, waiting}, "Always", "Pending", "False"},
		{"one that crashes leaves it running, and not ready", []corev1.ContainerStatus{running, crashing}, "Always", "Running", "False"},
		{"all well", []corev1.ContainerStatus{running}, "Always", "Running", "True"},
		{"one that ended begins again", []corev1.ContainerStatus{ended(0)}, "Always", "Running", "False"},
		{"a failure begins again", []corev1.ContainerStatus{ended(2)}, "OnFailure", "Running", "False"},
		{"a success does not", []corev1.ContainerStatus{ended(0)}, "OnFailure", "Succeeded", "False"},
		{"one of two failed for good", []corev1.ContainerStatus{ended(0), ended(1)}, "Never", "Failed", "False"},
	} {
		status := statusOf(&corev1.Pod{}, tt.containers, tt.policy)
		if status.Phase != tt.phase || status.Conditions[1].Status != tt.ready {
			t.Errorf("%s: %s, ready %s", tt.name, status.Phase, status.Conditions[1].Status)
		}
	}
	gated := &corev1.Pod{Spec: corev1.PodSpec{ReadinessGates: []corev1.PodReadinessGate{{ConditionType: "x"}}}}
	if status := statusOf(gated, []corev1.ContainerStatus{running}, "Always"); status.Conditions[1].Status != "False" || status.Conditions[0].Status != "True" {
		t.Errorf("a closed gate: %v", status.Conditions)
	}
}

func TestAConditionKeepsTheTimeAtWhichItBecameSo(t *testing.T) {
	times, first := conditionTimes{}, time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(status corev1.ConditionStatus, now time.Time) metav1.Time {
		c := []corev1.PodCondition{{Type: corev1.PodReady, Status: status}}
		times.stamp(c, now)
		return c[0].LastTransitionTime
	}
	at("True", first)
	if got := at("True", first.Add(time.Hour)); !got.Time.Equal(first) {
		t.Errorf("it was renewed: %v", got)
	}
	if got := at("False", first.Add(time.Hour)); got.Time.Equal(first) {
		t.Error("a change was not")
	}
}

// A program that answers its probe only at first.
func TestProbesDecideReadinessAndLife(t *testing.T) {
	dir := t.TempDir()
	answer := filepath.Join(dir, "answer")
	tell := func(code string) {
		t.Helper()
		if err := os.WriteFile(answer, []byte("exit "+code), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	script := filepath.Join(dir, program)
	if err := os.WriteFile(script, []byte("#!/bin/sh\n. \"$1\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	probe := func(command ...string) *corev1.Probe {
		return &corev1.Probe{PeriodSeconds: 1, FailureThreshold: 1, TimeoutSeconds: 60, ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: command}}}
	}
	c := &container{pod: &pod{kubelet: &Kubelet{events: record.NewFakeRecorder(100)}, changed: make(chan struct{}, 1)}}
	c.spec.StartupProbe, c.spec.ReadinessProbe, c.spec.LivenessProbe = probe("/bin/atoll-agent", "/answer"), probe("atoll-agent", "/answer"), probe("atoll-agent", "/alive")
	alive := filepath.Join(dir, "alive")
	if err := os.WriteFile(alive, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	becomes := func(what string, ok func(corev1.ContainerStatus) bool) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); ; {
			c.pod.mu.Lock()
			done := ok(c.status)
			c.pod.mu.Unlock()
			if done {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s never: %+v", what, c.status)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	tell("0")
	dead := make(chan error, 1)
	go c.watch(t.Context(), launch{path: script, dir: dir}, dead)
	becomes("ready", func(s corev1.ContainerStatus) bool { return s.Ready && *s.Started })
	tell("1")
	becomes("not ready", func(s corev1.ContainerStatus) bool { return !s.Ready && *s.Started })
	tell("0")
	becomes("ready again", func(s corev1.ContainerStatus) bool { return s.Ready })
	if err := os.Remove(alive); err != nil {
		t.Fatal(err)
	}
	if why := <-dead; why == nil {
		t.Error("it died for no reason")
	}
	if err := c.ask(t.Context(), probe("sh", "-c", "true"), launch{path: script, dir: dir}); err == nil {
		t.Error("a probe ran another program")
	}
}

func FuzzParseLine(f *testing.F) {
	for _, seed := range []string{"", "2030-01-01T00:00:00Z hello\n", "2030-01-01T00:00:00Z half", "x y\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		if line, ok := parseLine(raw); ok && !strings.HasSuffix(raw, " "+line.Text+"\n") {
			t.Errorf("%q was read as %q", raw, line.Text)
		}
	})
}
