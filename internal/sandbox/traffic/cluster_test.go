package traffic_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
	utilexec "k8s.io/client-go/util/exec"
	"sigs.k8s.io/yaml"

	"atoll.dev/atoll/internal/sandbox"
	"atoll.dev/atoll/internal/sandbox/traffic"
)

// patience is far beyond what anything here takes on an idle machine.
const patience = 2 * time.Minute

const deployment = `
metadata: {name: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: "web:1"
        ports: [{name: http, containerPort: 8080}]
        resources: {requests: {cpu: 100m}}
        env:
        - {name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
        - {name: GREETING, valueFrom: {configMapKeyRef: {name: words, key: greeting}}}
        volumeMounts: [{name: all, mountPath: /all}]
      volumes:
      - name: all
        projected:
          sources:
          - configMap: {name: words}
          - downwardAPI: {items: [{path: about/cpu, resourceFieldRef: {containerName: web, resource: requests.cpu, divisor: 1m}}]}
          - serviceAccountToken: {path: token}`

const words = `
metadata: {name: words}
data: {greeting: hello}`

const service = `
metadata: {name: web}
spec: {type: LoadBalancer, selector: {app: web}, ports: [{port: 8000, targetPort: http}]}`

func parse[T any](t *testing.T, text string) *T {
	t.Helper()
	into := new(T)
	if err := yaml.UnmarshalStrict([]byte(text), into); err != nil {
		t.Fatal(err)
	}
	return into
}

func eventually(t *testing.T, what string, ask func(context.Context) error) {
	t.Helper()
	last := errors.New("never asked")
	if err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		last = ask(ctx)
		return last == nil, nil
	}); err != nil {
		t.Fatalf("%s: %v; last: %v", what, err, last)
	}
}

// get asks over a connection of its own.
func get(ctx context.Context, url string) (traffic.Answer, error) {
	var answer traffic.Answer
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return answer, err
	}
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return answer, err
	}
	defer response.Body.Close()
	return answer, json.NewDecoder(response.Body).Decode(&answer)
}

// spread asks until every one of so many pods has answered.
func spread(url, cluster string, pods int) func(context.Context) error {
	return func(ctx context.Context) error {
		answered := map[string]bool{}
		for range 2 * pods {
			answer, err := get(ctx, url)
			if err != nil {
				return err
			}
			if answer.Cluster != cluster {
				return fmt.Errorf("cluster %q answers for %q", answer.Cluster, cluster)
			}
			answered[answer.Pod] = true
		}
		if len(answered) != pods {
			return fmt.Errorf("%v answered, want %d", answered, pods)
		}
		return nil
	}
}

func start(t *testing.T, name string) (*sandbox.Cluster, *rest.Config, kubernetes.Interface) {
	t.Helper()
	cluster := sandbox.Start(t, name).Cluster(name)
	config, err := cluster.RESTConfig()
	if err != nil {
		t.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	tellOnFailure(t, client)
	return cluster, config, client
}

// deploy creates three pods behind a load balancer and returns its URL.
func deploy(t *testing.T, client kubernetes.Interface) string {
	t.Helper()
	if _, err := client.CoreV1().ConfigMaps("default").Create(t.Context(), parse[corev1.ConfigMap](t, words), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.AppsV1().Deployments("default").Create(t.Context(), parse[appsv1.Deployment](t, deployment), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.CoreV1().Services("default").Create(t.Context(), parse[corev1.Service](t, service), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	var url string
	eventually(t, "the load balancer has an address", func(ctx context.Context) error {
		s, err := client.CoreV1().Services("default").Get(ctx, "web", metav1.GetOptions{})
		if err == nil && len(s.Status.LoadBalancer.Ingress) != 1 {
			err = fmt.Errorf("it has %v", s.Status.LoadBalancer.Ingress)
		}
		if err == nil {
			url = "http://" + s.Status.LoadBalancer.Ingress[0].IP + ":8000"
		}
		return err
	})
	return url
}

func patch(t *testing.T, client kubernetes.Interface, text string) {
	t.Helper()
	if _, err := client.AppsV1().Deployments("default").Patch(t.Context(), "web", types.StrategicMergePatchType, []byte(text), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
}

func TestALoadBalancerReachesThePodsOfItsCluster(t *testing.T) {
	cluster, config, client := start(t, "eu")
	url := deploy(t, client)
	eventually(t, "all three pods answer", spread(url, "eu", 3))

	answer, err := get(t.Context(), url+"/cart")
	if err != nil {
		t.Fatal(err)
	}
	log, err := client.CoreV1().Pods("default").GetLogs(answer.Pod, &corev1.PodLogOptions{}).DoRaw(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if want := `"GET /cart" 200`; strings.Count(string(log), want) != 1 || !strings.Contains(string(log), "started from image web:1") {
		t.Errorf("the log of %s does not have %s once:\n%s", answer.Pod, want, log)
	}

	t.Run("exec is answered, and nothing is run", func(t *testing.T) { execInPod(t, config, client, answer.Pod) })
	t.Run("a forwarded port reaches the pod", func(t *testing.T) { forwardPort(t, config, client, answer.Pod) })
	t.Run("a rolling update loses no request", func(t *testing.T) { rollUnderLoad(t, client, url) })
	t.Run("usage follows requests, and a scaler follows usage", func(t *testing.T) { scaleByUsage(t, config, client, url) })
	t.Run("traffic outlives the API server", func(t *testing.T) { loseTheAPIServer(t, cluster, client, url) })

	patch(t, client, `{"spec":{"replicas":0}}`)
	eventually(t, "a Service without pods refuses", func(ctx context.Context) error {
		if _, err := get(ctx, url); !errors.Is(err, syscall.ECONNREFUSED) {
			return fmt.Errorf("answered with %v", err)
		}
		return nil
	})
}

// No request on a new connection is lost while every pod is replaced: three
// are ready at all times, and one that goes accepts until it is known to.
func rollUnderLoad(t *testing.T, client kubernetes.Interface, url string) {
	var asked, lost atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			if _, err := get(t.Context(), url); err != nil {
				lost.Add(1)
				t.Logf("request %d: %v", asked.Load(), err)
			}
			asked.Add(1)
		}
	}()
	patch(t, client, `{"spec":{"strategy":{"rollingUpdate":{"maxUnavailable":0}},"template":{"spec":{"containers":[{"name":"web","image":"web:2"}]}}}}`)
	eventually(t, "all pods are replaced", func(ctx context.Context) error {
		pods, err := client.CoreV1().Pods("default").List(ctx, metav1.ListOptions{LabelSelector: "app=web"})
		if err != nil {
			return err
		}
		for _, pod := range pods.Items {
			if pod.Spec.Containers[0].Image != "web:2" {
				return fmt.Errorf("%s is an old one", pod.Name)
			}
		}
		return nil
	})
	cancel()
	<-ended
	t.Logf("%d requests during the update", asked.Load())
	if lost.Load() > 0 || asked.Load() == 0 {
		t.Errorf("%d of %d requests were lost", lost.Load(), asked.Load())
	}
}

func loseTheAPIServer(t *testing.T, cluster *sandbox.Cluster, client kubernetes.Interface, url string) {
	tellOnFailure(t, client) // before what comes next changes it
	if err := cluster.Kill(sandbox.APIServer); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Discovery().ServerVersion(); err == nil {
		t.Fatal("the API server answers")
	}
	// Enough for watches to have broken and lists to have failed meanwhile.
	for range 300 {
		if err := spread(url, "eu", 3)(t.Context()); err != nil {
			t.Fatalf("without its API server: %v", err)
		}
	}
	if err := cluster.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	patch(t, client, `{"spec":{"replicas":5}}`)
	eventually(t, "pods that came after answer too", spread(url, "eu", 5))
}

// execInPod asks over both protocols that kubectl speaks.
func execInPod(t *testing.T, config *rest.Config, client kubernetes.Interface, pod string) {
	for _, tc := range []struct {
		command []string
		out     string
		code    int
	}{
		{[]string{"hostname"}, pod + "\n", 0},
		{[]string{"sh", "-c", "printenv POD"}, pod + "\n", 0},
		{[]string{"printenv", "GREETING"}, "hello\n", 0},
		{[]string{"ls", "/all"}, "about\ngreeting\ntoken\n", 0},
		{[]string{"cat", "/all/greeting", "/all/about/cpu"}, "hello100", 0},
		{[]string{"cat", "/var/run/secrets/kubernetes.io/serviceaccount/namespace"}, "default", 0},
		{[]string{"false"}, "", 1},
		{[]string{"touch", "/tmp/made-by-exec"}, "", 127},
	} {
		url := client.CoreV1().RESTClient().Post().Resource("pods").Namespace("default").Name(pod).SubResource("exec").
			VersionedParams(&corev1.PodExecOptions{Command: tc.command, Stdout: true, Stderr: true}, scheme.ParameterCodec).URL()
		websocket, err := remotecommand.NewWebSocketExecutor(config, http.MethodGet, url.String())
		if err != nil {
			t.Fatal(err)
		}
		spdy, err := remotecommand.NewSPDYExecutor(config, http.MethodPost, url)
		if err != nil {
			t.Fatal(err)
		}
		for name, executor := range map[string]remotecommand.Executor{"websocket": websocket, "spdy": spdy} {
			var out, problem bytes.Buffer
			err := executor.StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdout: &out, Stderr: &problem})
			code := 0
			if ended := (utilexec.CodeExitError{}); errors.As(err, &ended) {
				code, err = ended.Code, nil
			}
			if err != nil || out.String() != tc.out || code != tc.code {
				t.Errorf("%s: %v answers %q, %q with %d: %v; want %q with %d", name, tc.command, &out, &problem, code, err, tc.out, tc.code)
			}
			if tc.code == 127 && !strings.Contains(problem.String(), "is simulated") {
				t.Errorf("%s: %v says %q", name, tc.command, &problem)
			}
		}
	}
}

func forwardPort(t *testing.T, config *rest.Config, client kubernetes.Interface, pod string) {
	transport, upgrader, err := spdy.RoundTripperFor(config)
	if err != nil {
		t.Fatal(err)
	}
	url := client.CoreV1().RESTClient().Post().Resource("pods").Namespace("default").Name(pod).SubResource("portforward").URL()
	dialer := spdy.NewDialer(upgrader, &http.Client{Transport: transport}, http.MethodPost, url)
	stop, ready := make(chan struct{}), make(chan struct{})
	forwarder, err := portforward.New(dialer, []string{"0:8080"}, stop, ready, io.Discard, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- forwarder.ForwardPorts() }()
	defer func() {
		close(stop)
		<-ended
	}()
	select {
	case <-ready:
	case err := <-ended:
		ended <- err
		t.Fatal(err)
	}
	ports, err := forwarder.GetPorts()
	if err != nil {
		t.Fatal(err)
	}
	answer, err := get(t.Context(), fmt.Sprintf("http://127.0.0.1:%d/forwarded", ports[0].Local))
	if err != nil || answer.Pod != pod || answer.Path != "/forwarded" {
		t.Errorf("%+v answers: %v", answer, err)
	}
}
