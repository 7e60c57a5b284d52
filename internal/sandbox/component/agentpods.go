package component

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"atoll.dev/atoll/internal/clock"
	"atoll.dev/atoll/internal/sandbox"
	"atoll.dev/atoll/internal/sandbox/podprocess"
)

// newAgents runs the pods of agents, which reach the API server from inside,
// and all else by way of the edge.
func newAgents(ctx context.Context, client kubernetes.Interface, state sandbox.State, dir string) (*podprocess.Kubelet, error) {
	programs := os.Getenv(sandbox.AgentsVariable)
	if programs == "" {
		self, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("find the agent's program: %w", err)
		}
		programs = filepath.Dir(self)
	}
	return podprocess.New(ctx, podprocess.Options{
		Client: client, Dir: dir, Programs: programs,
		Environment: map[string]string{
			"KUBERNETES_SERVICE_HOST": "127.0.0.1",
			"KUBERNETES_SERVICE_PORT": strconv.Itoa(state.Ports.APIServer),
			"HTTPS_PROXY":             state.ProxyURL(),
			// The one before is not for hubs on this machine.
			"ATOLL_PROXY":  state.ProxyURL(),
			clock.Variable: sandbox.SkewPath(dir),
		},
		Resolve: func(ctx context.Context, pod *corev1.Pod, container *corev1.Container) (map[string]string, error) {
			return podEnv{client: client, pod: pod}.of(ctx, container)
		},
	}), nil
}

// said is what a container has said by now, and whether that was all. One that
// is run has really said it; the lines of all others are computed.
func (k *kubelets) said(pod *corev1.Pod, container string, previous bool, now time.Time) ([]logLine, bool, error) {
	if !podprocess.Runs(pod) {
		lines, ended := containerLog(pod, container, now)
		requests := k.pods.Log(pod.UID, types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}, container, now)
		return withRequests(lines, requests), ended, nil
	}
	lines, err := k.agentLog(pod.UID, container, previous)
	over := slices.ContainsFunc(pod.Status.ContainerStatuses, func(s corev1.ContainerStatus) bool {
		return s.Name == container && s.State.Running == nil
	})
	return lines, over || previous, err
}

func (k *kubelets) agentLog(uid types.UID, container string, previous bool) ([]logLine, error) {
	really, err := k.agents.Log(uid, container, previous)
	lines := make([]logLine, 0, len(really))
	for _, line := range really {
		lines = append(lines, logLine{line.At, line.Text})
	}
	return lines, err
}

// lastWords are what a container said until its pod went, as far as it said
// anything itself.
func (k *kubelets) lastWords(pod *corev1.Pod, container string) []logLine {
	if !podprocess.Runs(pod) {
		return nil
	}
	lines, err := k.agentLog(pod.UID, container, false)
	if err != nil {
		return nil // it is gone for longer than its files are kept
	}
	return lines
}
