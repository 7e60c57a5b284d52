package realnode_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/join"
)

// repository is where the images of this test are said to be; nothing is ever
// pulled.
const repository = "sandbox.atoll.dev"

// agentImage is the repository of the agent's images; their tags are versions.
const agentImage = repository + "/atoll-agent"

// shop is what is delivered: one Deployment whose pods really run.
const shop = `apiVersion: v1
kind: ConfigMap
metadata: {name: shop, namespace: demo}
data: {greeting: welcome}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop, namespace: demo}
spec:
  replicas: 2
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec:
      containers:
      - name: server
        image: ` + serverImage + `
        envFrom: [{configMapRef: {name: shop}}]
        readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
`

func TestTheAgentRunsInAPodFromItsOwnImage(t *testing.T) {
	t.Parallel() // a cluster of its own, and it mostly waits
	b := start(t, "real-2")
	b.load("./server", "", serverImage)
	b.loadAgent("v1")
	b.showAgentOnFailure()
	h := b.hub()

	b.install(h.cli("", "join", "real-2", "--owner", "tests", "--image", agentImage+":v1", "-o", "yaml"))
	h.cli("", "accept", "real-2")
	h.cli("", "wait", "cluster/real-2", "--for=connected", "--timeout=3m")
	b.agentIs("v1")
	h.cli(shop, "deploy", "shop", "-f", "-", "--project", "demo", "--create-project", "--cluster", "real-2", "--wait")

	delivered := b.shop()
	if delivered.Status.ReadyReplicas != 2 {
		t.Errorf("the application is said to be healthy with %d of 2 pods ready", delivered.Status.ReadyReplicas)
	}
	t.Run("it corrects drift without its hub", func(t *testing.T) {
		h.kill()
		if err := b.api().Delete(t.Context(), delivered); err != nil {
			t.Fatal(err)
		}
		b.eventually("the Deployment comes back and its pods run", func(context.Context) error {
			if now := b.shop(); now.UID == delivered.UID || now.Status.ReadyReplicas != 2 {
				return fmt.Errorf("UID %s, %d ready", now.UID, now.Status.ReadyReplicas)
			}
			return nil
		})
		h.start()
		h.cli("", "wait", "app/shop", "--project", "demo", "--for=synced,healthy", "--timeout=3m")
	})
	t.Run("it starts again and applies nothing that is as it should be", func(t *testing.T) { b.restartAgent(t) })
	t.Run("it hands over to another version, and one that is no good strands nobody", func(t *testing.T) { h.upgrades(t) })
}

// loadAgent gives the node an agent that says it is of that version.
func (b *bed) loadAgent(version string) {
	b.t.Helper()
	b.load("atoll.dev/atoll/cmd/atoll-agent", "-X atoll.dev/atoll/internal/version.Version="+version, agentImage+":"+version)
}

func (b *bed) api() client.Client {
	b.t.Helper()
	c, err := client.New(b.config, client.Options{})
	if err != nil {
		b.t.Fatal(err)
	}
	return c
}

// install does what `kubectl apply -f -` would, server-side.
func (b *bed) install(manifests string) {
	b.t.Helper()
	api, decoder := b.api(), yaml.NewYAMLOrJSONDecoder(strings.NewReader(manifests), 4096)
	for {
		u := &unstructured.Unstructured{}
		err := decoder.Decode(u)
		if errors.Is(err, io.EOF) {
			return
		}
		if err == nil {
			err = api.Apply(b.t.Context(), client.ApplyConfigurationFromUnstructured(u), client.FieldOwner("kubectl"), client.ForceOwnership)
		}
		if err != nil {
			b.t.Fatalf("install %s %s: %v", u.GetKind(), u.GetName(), err)
		}
	}
}

// shop is the Deployment in the member, empty if there is none.
func (b *bed) shop() *appsv1.Deployment {
	b.t.Helper()
	d := &appsv1.Deployment{}
	if err := b.api().Get(b.t.Context(), client.ObjectKey{Namespace: "demo", Name: "shop"}, d); client.IgnoreNotFound(err) != nil {
		b.t.Fatal(err)
	}
	return d
}

// agent is the one pod of the agent.
func (b *bed) agent(ctx context.Context) (*corev1.Pod, error) {
	pods, err := b.client.CoreV1().Pods(v1alpha1.SystemNamespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=" + join.AgentAccount})
	if err == nil && len(pods.Items) != 1 {
		err = fmt.Errorf("the agent has %d pods", len(pods.Items))
	}
	if err != nil {
		return nil, err
	}
	return &pods.Items[0], nil
}

// agentIs waits until the agent runs from the image of that version.
func (b *bed) agentIs(version string) *corev1.Pod {
	b.t.Helper()
	var pod *corev1.Pod
	b.eventually("the agent runs as "+version, func(ctx context.Context) (err error) {
		pod, err = b.agent(ctx)
		if err == nil && (!ready(pod) || pod.Spec.Containers[0].Image != agentImage+":"+version) {
			err = errors.New(state(pod))
		}
		return err
	})
	return pod
}

// restartAgent kills the agent's pod, and lets its successor prove that it
// works: the one correction that it then makes is all that it applies.
func (b *bed) restartAgent(t *testing.T) {
	before, applied, deployment := b.agentIs("v1"), b.applied(), b.shop()
	err := b.client.CoreV1().Pods(before.Namespace).Delete(t.Context(), before.Name, metav1.DeleteOptions{GracePeriodSeconds: ptr.To[int64](0)})
	if err != nil {
		t.Fatal(err)
	}
	b.eventually("another pod takes over", func(context.Context) error {
		if pod := b.agentIs("v1"); pod.UID == before.UID {
			return errors.New("it is still the same")
		}
		return nil
	})
	if err := b.client.CoreV1().ConfigMaps("demo").Delete(t.Context(), "shop", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	b.eventually("what was deleted comes back", func(ctx context.Context) error {
		_, err := b.client.CoreV1().ConfigMaps("demo").Get(ctx, "shop", metav1.GetOptions{})
		return err
	})
	if now := b.applied(); now != applied+1 {
		t.Errorf("%d applies since the agent was killed, not the one that was due", now-applied)
	}
	if now := b.shop(); now.UID != deployment.UID || now.Generation != deployment.Generation {
		t.Errorf("the Deployment was touched: from %s at %d to %s at %d", deployment.UID, deployment.Generation, now.UID, now.Generation)
	}
}

// applies matches the API server's count of server-side applies of what the
// shop consists of; Kubernetes itself applies none of it.
var applies = regexp.MustCompile(`^apiserver_request_total\{.*resource="(?:configmaps|deployments)".*verb="APPLY".*\} ([0-9.e+]+)$`)

func (b *bed) applied() int {
	b.t.Helper()
	metrics, err := b.client.Discovery().RESTClient().Get().AbsPath("/metrics").DoRaw(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	total := 0
	for lines := bufio.NewScanner(bytes.NewReader(metrics)); lines.Scan(); {
		if found := applies.FindStringSubmatch(lines.Text()); found != nil {
			n, err := strconv.ParseFloat(found[1], 64)
			if err != nil {
				b.t.Fatal(err)
			}
			total += int(n)
		}
	}
	return total
}

func (b *bed) showAgentOnFailure() {
	b.t.Cleanup(func() {
		if !b.t.Failed() {
			return
		}
		// The test's own context has ended.
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		pod, err := b.agent(ctx)
		if err != nil {
			b.t.Log(err)
			return
		}
		log, err := b.client.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{TailLines: ptr.To[int64](30)}).DoRaw(ctx)
		b.t.Logf("%s\nthe agent's log (%v):\n%s", state(pod), err, log)
	})
}
