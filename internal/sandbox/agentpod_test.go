package sandbox_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"atoll.dev/atoll/internal/sandbox"
)

// agentScript stands in for the agent, to be told how to behave.
const agentScript = `#!/bin/sh
[ "$1" = --version ] && echo "atoll-agent version v1" && exit
echo "started $NAME with $(cat "$2") as $(wc -c < "$CONTAINER_SANDBOX_MOUNT_POINT/var/run/secrets/kubernetes.io/serviceaccount/token" | tr -d ' ') at $KUBERNETES_SERVICE_HOST by $HTTPS_PROXY"
[ "$1" = fail ] && exit 3
trap 'echo asked to end; exit 0' TERM
while :; do sleep 0.05; done
`

const agentPod = `
metadata: {name: agent}
spec:
  containers:
  - name: agent
    image: registry.example.org/atoll-agent:v1
    args: [serve, /etc/atoll/word]
    env: [{name: NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]
    volumeMounts: [{name: words, mountPath: /etc/atoll}]
  volumes: [{name: words, configMap: {name: words}}]`

// TestAPodOfTheAgentIsAProcess goes through a life of such a pod: files, words,
// crashes, faults of the cluster, another version, its end.
func TestAPodOfTheAgentIsAProcess(t *testing.T) {
	programs := t.TempDir()
	if err := os.WriteFile(filepath.Join(programs, "atoll-agent"), []byte(agentScript), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv(sandbox.AgentsVariable, programs)
	c := sandbox.Start(t, "us-east-1").Cluster("us-east-1")
	client := clientOf(t, c)
	eventually(t, "the default account", func(ctx context.Context) error {
		_, err := client.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{})
		return err
	})

	pod := createPod(t, client, "default", agentPod)
	podBecomes(t, client, pod, "waits for its files", func(p *corev1.Pod) bool {
		return waits(p, "ContainerCreating", `configmaps "words" not found`)
	})
	words := object[corev1.ConfigMap](t, `{metadata: {name: words}, data: {word: hello}}`)
	if _, err := client.CoreV1().ConfigMaps("default").Create(t.Context(), words, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	podBecomes(t, client, pod, "is ready", ready)
	logHas(t, client, &corev1.PodLogOptions{}, "started agent with hello as ", "at 127.0.0.1 by "+c.State().ProxyURL())

	first := onlyProcess(t, c)
	if err := c.Kill(sandbox.Etcd, sandbox.APIServer); err != nil {
		t.Fatal(err)
	}
	if !first.Alive() {
		t.Error("the pod ended with the API server")
	}
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := first.Kill(); err != nil {
		t.Fatal(err)
	}
	podBecomes(t, client, pod, "runs again", func(p *corev1.Pod) bool {
		s := p.Status.ContainerStatuses[0]
		return s.RestartCount == 1 && ready(p) && s.LastTerminationState.Terminated.ExitCode == 137
	})
	logHas(t, client, &corev1.PodLogOptions{Previous: true}, "started agent")

	second := onlyProcess(t, c)
	if err := c.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the pod dies with its cluster", func(context.Context) error {
		if second.Alive() {
			return errors.New("it lives")
		}
		return nil
	})
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	podBecomes(t, client, pod, "starts with its cluster", func(p *corev1.Pod) bool {
		return p.Status.ContainerStatuses[0].RestartCount == 2 && ready(p)
	})

	follower, err := client.CoreV1().Pods("default").GetLogs("agent", &corev1.PodLogOptions{Follow: true}).Stream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer follower.Close()
	if err := client.CoreV1().Pods("default").Delete(t.Context(), "agent", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the pod goes", func(ctx context.Context) error {
		_, err := client.CoreV1().Pods("default").Get(ctx, "agent", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("it is there: %w", err)
	})
	if said, err := io.ReadAll(follower); !strings.Contains(string(said), "asked to end") {
		t.Errorf("the last words are %q, %v", said, err)
	}
	if left, err := c.PodProcesses(); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	crashesAndVersions(t, client, programs)
}

func crashesAndVersions(t *testing.T, client kubernetes.Interface, programs string) {
	t.Helper()
	crash := createPod(t, client, "default", strings.NewReplacer("name: agent}", "name: crash}", "args: [serve", "args: [fail").Replace(agentPod))
	podBecomes(t, client, crash, "backs off", func(p *corev1.Pod) bool {
		return waits(p, "CrashLoopBackOff", "") && p.Status.ContainerStatuses[0].LastTerminationState.Terminated.ExitCode == 3 && !ready(p)
	})
	other := createPod(t, client, "default", strings.NewReplacer("name: agent}", "name: other}", ":v1", ":v2").Replace(agentPod))
	podBecomes(t, client, other, "has no image", func(p *corev1.Pod) bool { return waits(p, "ImagePullBackOff", "atoll-agent-v2") })
	if err := os.WriteFile(filepath.Join(programs, "atoll-agent-v2"), []byte(agentScript), 0o700); err != nil {
		t.Fatal(err)
	}
	podBecomes(t, client, other, "runs once there is one", ready)
}

func waits(p *corev1.Pod, reason, message string) bool {
	if len(p.Status.ContainerStatuses) == 0 {
		return false
	}
	waiting := p.Status.ContainerStatuses[0].State.Waiting
	return waiting != nil && waiting.Reason == reason && strings.Contains(waiting.Message, message)
}

func onlyProcess(t *testing.T, c *sandbox.Cluster) sandbox.Process {
	t.Helper()
	processes, err := c.PodProcesses()
	if err != nil || len(processes) != 1 {
		t.Fatalf("the pods are %v: %v", processes, err)
	}
	return processes[0]
}

func logHas(t *testing.T, client kubernetes.Interface, options *corev1.PodLogOptions, want ...string) {
	t.Helper()
	eventually(t, "the log says "+strings.Join(want, " and "), func(ctx context.Context) error {
		data, err := client.CoreV1().Pods("default").GetLogs("agent", options).DoRaw(ctx)
		if err != nil {
			return err
		}
		for _, text := range want {
			if !strings.Contains(string(data), text) {
				return fmt.Errorf("it says %q", data)
			}
		}
		return nil
	})
}
