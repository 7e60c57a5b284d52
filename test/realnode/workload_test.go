package realnode_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
	utilexec "k8s.io/client-go/util/exec"
	"k8s.io/utils/ptr"

	"atoll.dev/atoll/internal/sandbox"
)

const namespace = metav1.NamespaceDefault

func server(name string) *appsv1.Deployment {
	labels := map[string]string{"app": name}
	get := func(path string) corev1.ProbeHandler {
		return corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromInt32(8080)}}
	}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace},
		Spec: appsv1.DeploymentSpec{
			Replicas: ptr.To[int32](1),
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: corev1.PodSpec{
					TerminationGracePeriodSeconds: ptr.To[int64](20),
					Containers: []corev1.Container{{
						Name: "server", Image: serverImage,
						ReadinessProbe: &corev1.Probe{ProbeHandler: get("/"), PeriodSeconds: 1},
						LivenessProbe:  &corev1.Probe{ProbeHandler: get("/live"), PeriodSeconds: 1, FailureThreshold: 2},
						Resources:      corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("64Mi")}},
					}},
				},
			},
		},
	}
}

// deploy returns when the server's pod is ready by its probe.
func (b *bed) deploy(name string) *corev1.Pod {
	b.t.Helper()
	if _, err := b.client.AppsV1().Deployments(namespace).Create(b.t.Context(), server(name), metav1.CreateOptions{}); err != nil {
		b.t.Fatal(err)
	}
	var pod *corev1.Pod
	b.eventually("pod of "+name+" is ready", func(ctx context.Context) (err error) {
		pod, err = b.pod(ctx, name)
		if err == nil && !ready(pod) {
			return errors.New(state(pod))
		}
		return err
	})
	return pod
}

func (b *bed) pod(ctx context.Context, app string) (*corev1.Pod, error) {
	pods, err := b.client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=" + app})
	if err != nil {
		return nil, err
	}
	if len(pods.Items) != 1 {
		return nil, fmt.Errorf("%s has %d pods", app, len(pods.Items))
	}
	return &pods.Items[0], nil
}

func ready(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

func state(pod *corev1.Pod) string {
	return fmt.Sprintf("%s: %+v", pod.Status.Phase, pod.Status.ContainerStatuses)
}

// get asks a pod's server by way of the API server.
func (b *bed) get(pod, path string, params map[string]string) (string, error) {
	body, err := b.client.CoreV1().Pods(namespace).ProxyGet("http", pod, "8080", path, params).DoRaw(b.t.Context())
	return string(body), err
}

func (b *bed) logs(pod string, previous bool) string {
	b.t.Helper()
	out, err := b.client.CoreV1().Pods(namespace).GetLogs(pod, &corev1.PodLogOptions{Previous: previous}).DoRaw(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	return string(out)
}

func TestAContainerLivesAndEndsAsItsPodSays(t *testing.T) {
	b := start(t, "real-1")
	b.load("./server", "", serverImage)
	web, other := b.deploy("web"), b.deploy("other")

	t.Run("the node is this machine, at the version of its API server", func(t *testing.T) { b.nodeIsReal(t) })
	t.Run("logs are the program's", func(t *testing.T) {
		if got := b.logs(web.Name, false); got != "serving on :8080\n" {
			t.Errorf("the log is %q", got)
		}
	})
	t.Run("exec gives output and exit code", func(t *testing.T) { b.execs(t, web.Name) })
	t.Run("port-forward reaches the pod", func(t *testing.T) { b.forwards(t, web.Name) })
	t.Run("pods reach each other and Services, and nothing else", func(t *testing.T) { b.reaches(t, web, other) })
	t.Run("a failed liveness probe restarts", func(t *testing.T) { b.restarts(t, web.Name) })
	t.Run("too much memory ends a container", func(t *testing.T) { b.runsOutOfMemory(t, web.Name) })
	t.Run("deletion asks first", func(t *testing.T) { b.deletes(t, other.Name) })
	t.Run("after a power cut pods come back", func(t *testing.T) { b.losesPower(t, web.Name) })
}

func (b *bed) nodeIsReal(t *testing.T) {
	node, err := b.client.CoreV1().Nodes().Get(t.Context(), "real-1-1", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	version, err := b.client.Discovery().ServerVersion()
	if err != nil {
		t.Fatal(err)
	}
	if info := node.Status.NodeInfo; info.KubeletVersion != version.GitVersion || !strings.HasPrefix(info.ContainerRuntimeVersion, "containerd://") {
		t.Errorf("the node has kubelet %s and %s, the API server is %s", info.KubeletVersion, info.ContainerRuntimeVersion, version)
	}
}

func (b *bed) execs(t *testing.T, pod string) {
	stdout, stderr, err := b.exec(pod, "/server", "exit", "7")
	if exit := (utilexec.CodeExitError{}); !errors.As(err, &exit) || exit.Code != 7 {
		t.Errorf("exec ended with %v, not with exit code 7", err)
	}
	if stdout != pod+"\n" || stderr != "ending with 7\n" {
		t.Errorf("exec printed %q and %q", stdout, stderr)
	}
}

// exec runs a command in the container of a pod.
func (b *bed) exec(pod string, command ...string) (stdout, stderr string, err error) {
	b.t.Helper()
	url := b.client.CoreV1().RESTClient().Post().Resource("pods").Namespace(namespace).Name(pod).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{Command: command, Stdout: true, Stderr: true}, scheme.ParameterCodec).URL()
	executor, err := remotecommand.NewWebSocketExecutor(b.config, http.MethodGet, url.String())
	if err != nil {
		b.t.Fatal(err)
	}
	var out, words bytes.Buffer
	err = executor.StreamWithContext(b.t.Context(), remotecommand.StreamOptions{Stdout: &out, Stderr: &words})
	return out.String(), words.String(), err
}

func (b *bed) forwards(t *testing.T, pod string) {
	url := b.client.CoreV1().RESTClient().Post().Resource("pods").Namespace(namespace).Name(pod).SubResource("portforward").URL()
	transport, upgrader, err := spdy.RoundTripperFor(b.config)
	if err != nil {
		t.Fatal(err)
	}
	stop, started := make(chan struct{}), make(chan struct{})
	dialer := spdy.NewDialer(upgrader, &http.Client{Transport: transport}, http.MethodPost, url)
	forwarder, err := portforward.NewOnAddresses(dialer, []string{"127.0.0.1"}, []string{"0:8080"}, stop, started, io.Discard, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- forwarder.ForwardPorts() }()
	defer func() { close(stop); <-ended }()
	select {
	case err := <-ended:
		ended <- err
		t.Fatal(err)
	case <-started:
	}
	ports, err := forwarder.GetPorts()
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/", ports[0].Local))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if body, err := io.ReadAll(response.Body); err != nil || string(body) != pod {
		t.Errorf("the forwarded port answers %q (%v), not %s", body, err, pod)
	}
}

func (b *bed) reaches(t *testing.T, from, to *corev1.Pod) {
	if _, err := b.client.CoreV1().Services(namespace).Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "other"},
		Spec:       corev1.ServiceSpec{Selector: map[string]string{"app": "other"}, Ports: []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(8080)}}},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	service, err := b.client.CoreV1().Services(namespace).Get(t.Context(), "other", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, url := range []string{"http://" + to.Status.PodIP + ":8080/", "http://" + service.Spec.ClusterIP + "/"} {
		b.eventually("pod reaches "+url, func(context.Context) error {
			body, err := b.get(from.Name, "fetch", map[string]string{"url": url})
			if err == nil && body != to.Name {
				return differs("the answer", body, to.Name)
			}
			return err
		})
	}
	b.leadsNowhere(t)
}

// leadsNowhere looks at the node's network itself: that no address answers from
// inside would be true of any machine that happens to be offline.
func (b *bed) leadsNowhere(t *testing.T) {
	node := b.cluster.State().Processes[sandbox.Node].PID
	children, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", node))
	if err != nil {
		t.Fatal(err)
	}
	looked := false
	for _, file := range children {
		pids, err := os.ReadFile(file)
		if err != nil || len(bytes.Fields(pids)) == 0 {
			continue // a thread that has ended, or that started nothing
		}
		devices, err := os.ReadFile(fmt.Sprintf("/proc/%s/net/dev", bytes.Fields(pids)[0]))
		if err != nil {
			t.Fatal(err)
		}
		looked = true
		for line := range strings.Lines(string(devices)) {
			name, _, isDevice := strings.Cut(strings.TrimSpace(line), ":")
			if isDevice && name != "lo" && name != "cni0" && !strings.HasPrefix(name, "veth") {
				t.Errorf("the node's network has %s, which may lead out of it", name)
			}
		}
	}
	if !looked {
		t.Errorf("the node, process %d, has no programs to look at", node)
	}
}

func (b *bed) restarts(t *testing.T, name string) {
	if _, err := b.get(name, "break", nil); err != nil {
		t.Fatal(err)
	}
	b.awaitRestarts(name, 1)
	if got := b.logs(name, true); !strings.Contains(got, "broken on request\n") || !strings.Contains(got, "asked to end by SIGTERM\n") {
		t.Errorf("the log of the container before is %q", got)
	}
}

func (b *bed) awaitRestarts(name string, restarts int32) corev1.ContainerStatus {
	b.t.Helper()
	var status corev1.ContainerStatus
	b.eventually(fmt.Sprintf("%s runs again after %d restarts", name, restarts), func(ctx context.Context) error {
		pod, err := b.client.CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		status = pod.Status.ContainerStatuses[0]
		if status.RestartCount != restarts || !ready(pod) {
			return errors.New(state(pod))
		}
		return nil
	})
	return status
}

func (b *bed) runsOutOfMemory(t *testing.T, name string) {
	// The answer never comes.
	go func() { _, _ = b.get(name, "eat", nil) }()
	status := b.awaitRestarts(name, 2)
	if last := status.LastTerminationState.Terminated; last == nil || last.Reason != "OOMKilled" || last.ExitCode != 137 {
		t.Errorf("it ended by %+v, not for its memory", last)
	}
}

func (b *bed) deletes(t *testing.T, name string) {
	stream, err := b.client.CoreV1().Pods(namespace).GetLogs(name, &corev1.PodLogOptions{Follow: true}).Stream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	if err := b.client.AppsV1().Deployments(namespace).Delete(t.Context(), "other", metav1.DeleteOptions{PropagationPolicy: ptr.To(metav1.DeletePropagationForeground)}); err != nil {
		t.Fatal(err)
	}
	log, err := io.ReadAll(stream) // ends with the container
	if err != nil || !strings.HasSuffix(string(log), "asked to end by SIGTERM\n") {
		t.Errorf("it ended saying %q (%v)", log, err)
	}
	b.eventually(name+" is gone", func(ctx context.Context) error {
		pods, err := b.client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=other"})
		if err == nil && len(pods.Items) > 0 {
			return errors.New(state(&pods.Items[0]))
		}
		return err
	})
}

func (b *bed) losesPower(t *testing.T, name string) {
	if err := b.cluster.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := b.cluster.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.eventually(name+" answers again", func(context.Context) error {
		body, err := b.get(name, "", nil)
		if err == nil && body != name {
			return differs("the answer", body, name)
		}
		return err
	})
}
