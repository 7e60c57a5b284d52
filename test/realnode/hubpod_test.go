package realnode_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"
)

const (
	hubNamespace = "atoll-hub"
	hubImage     = repository + "/atoll"
)

// staticHub is the hub as an image can hold it, in bin.
const staticHub = "static/atoll"

// Hubs of the chart store in the cluster that they are pods of, keep content in
// a registry whose certificate is of an authority of its own, and manage that
// very cluster by an agent that reaches whichever of them leads.
func TestHubsInPodsDeliverAndOneTakesOverFromAnother(t *testing.T) {
	t.Parallel() // a cluster of its own, and it mostly waits
	b := start(t, "real-3")
	program := filepath.Join(filepath.Dir(b.program()), staticHub)
	if _, err := os.Stat(program); err != nil {
		t.Fatalf("%v: run `make bin/%s`", err, staticHub)
	}
	b.load("./server", "", serverImage)
	b.loadAgent(chartVersion)
	b.give(program, hubImage+":"+chartVersion)
	content := b.registry()
	a := admin{b, b.program(), b.cluster.KubeconfigPath()}

	address := b.prepareHub(a, content)
	b.showHubsOnFailure()
	b.helm("atoll", hubNamespace, map[string]any{
		"publicAddress": address,
		"content":       map[string]any{"oci": content.location(), "caSecret": "registry-ca"},
		"agents":        map[string]any{"service": map[string]any{"type": "ClusterIP"}},
		"replicas":      2,
	})
	b.hubsAreReady(2)
	first := b.leader()

	b.showAgentOnFailure()
	values := map[string]any{}
	if err := yaml.Unmarshal([]byte(a.cli("", "join", "real-3", "--owner", "tests", "-o", "bootstrap")), &values); err != nil {
		t.Fatal(err)
	}
	b.helm("atoll-agent", metav1.NamespaceDefault, values)
	a.cli("", "accept", "real-3")
	a.cli("", "wait", "cluster/real-3", "--for=connected", "--timeout=3m")
	b.agentIs(chartVersion)
	a.cli(shop, "deploy", "shop", "-f", "-", "--project", "demo", "--create-project", "--cluster", "real-3", "--wait", "--timeout=3m")
	if ready := b.shop().Status.ReadyReplicas; ready != 2 {
		t.Errorf("the application is said to be healthy with %d of 2 pods ready", ready)
	}
	if held := content.catalog(); !strings.Contains(held, `"fleet/`) {
		t.Errorf("the registry holds %s", held)
	}

	t.Run("the one that leads is drained, and another delivers", func(t *testing.T) { b.drains(t, a, first) })
	for _, hub := range b.hubs() {
		if words := b.hubLog(hub.Name); strings.Contains(words, "forbidden") || strings.Contains(words, "cannot list") {
			t.Errorf("hub %s lacks a right:\n%s", hub.Name, words)
		}
	}
}

// prepareHub makes what the chart wants and does not make, and returns the
// address that agents will dial. Names lead nowhere in this cluster, so it is that of
// the chart's own Service, which for once exists before the chart.
func (b *bed) prepareHub(a admin, content *registry) string {
	b.t.Helper()
	b.install(`{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "` + hubNamespace + `", "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}`)
	dir := filepath.Join(b.t.TempDir(), "keys")
	a.cli("", "hub", "keys", dir)
	files, err := os.ReadDir(dir)
	if err != nil {
		b.t.Fatal(err)
	}
	keys := map[string][]byte{}
	for _, file := range files {
		if keys[file.Name()], err = os.ReadFile(filepath.Join(dir, file.Name())); err != nil {
			b.t.Fatal(err)
		}
	}
	for name, data := range map[string]map[string][]byte{"atoll-hub-keys": keys, "registry-ca": {"ca.crt": content.authority}} {
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: data}
		if _, err := b.client.CoreV1().Secrets(hubNamespace).Create(b.t.Context(), secret, metav1.CreateOptions{}); err != nil {
			b.t.Fatal(err)
		}
	}
	service, err := b.client.CoreV1().Services(hubNamespace).Create(b.t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "atoll-hub-agents"},
		Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "agents", Port: 7444}}},
	}, metav1.CreateOptions{})
	if err != nil {
		b.t.Fatal(err)
	}
	return net.JoinHostPort(service.Spec.ClusterIP, "7444")
}

// hubs are the pods of the chart, but for those that end.
func (b *bed) hubs() []corev1.Pod {
	b.t.Helper()
	pods, err := b.client.CoreV1().Pods(hubNamespace).List(b.t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=atoll-hub"})
	if err != nil {
		b.t.Fatal(err)
	}
	var found []corev1.Pod
	for _, pod := range pods.Items {
		if pod.DeletionTimestamp == nil {
			found = append(found, pod)
		}
	}
	return found
}

func (b *bed) hubsAreReady(n int) {
	b.t.Helper()
	b.eventually(fmt.Sprintf("%d hubs are ready", n), func(context.Context) error {
		hubs, count := b.hubs(), 0
		for i := range hubs {
			if ready(&hubs[i]) {
				count++
			}
		}
		if count != n {
			return differs("the number of hubs that are ready", count, n)
		}
		return nil
	})
}

// leader waits until one hub leads and is ready, so that the Services follow it.
func (b *bed) leader() string {
	b.t.Helper()
	name := ""
	b.eventually("a hub leads", func(context.Context) error {
		hubs := b.hubs()
		for i := range hubs {
			if hubs[i].Labels["atoll.dev/hub-leader"] == "true" && ready(&hubs[i]) {
				name = hubs[i].Name
				return nil
			}
		}
		return fmt.Errorf("none of %d does", len(hubs))
	})
	return name
}

// drains evicts the leader, as an upgrade of its node would, and expects that
// the application's next state comes from another.
func (b *bed) drains(t *testing.T, a admin, leader string) {
	before := b.shop()
	eviction := &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: leader, Namespace: hubNamespace}}
	if err := b.client.PolicyV1().Evictions(hubNamespace).Evict(t.Context(), eviction); err != nil {
		t.Fatal(err)
	}
	b.eventually("another hub leads", func(context.Context) error {
		if now := b.leader(); now == leader {
			return fmt.Errorf("%s still does", now)
		}
		return nil
	})
	three := strings.Replace(shop, "replicas: 2", "replicas: 3", 1)
	b.eventually("another hub takes the next state", func(ctx context.Context) error {
		_, err := a.run(ctx, three, "deploy", "shop", "-f", "-", "--project", "demo", "--cluster", "real-3", "--wait", "--timeout=1m")
		return err
	})
	if now := b.shop(); now.UID != before.UID || now.Status.ReadyReplicas != 3 {
		t.Errorf("delivered is %s with %d pods ready, before %s", now.UID, now.Status.ReadyReplicas, before.UID)
	}
}

func (b *bed) hubLog(pod string) string {
	// The test's own context may have ended.
	words, err := b.client.CoreV1().Pods(hubNamespace).GetLogs(pod, &corev1.PodLogOptions{TailLines: ptr.To[int64](200)}).DoRaw(context.Background())
	if err != nil {
		return err.Error()
	}
	return string(words)
}

func (b *bed) showHubsOnFailure() {
	b.t.Cleanup(func() {
		if !b.t.Failed() {
			return
		}
		pods, err := b.client.CoreV1().Pods(hubNamespace).List(context.Background(), metav1.ListOptions{})
		if err != nil {
			b.t.Log(err)
			return
		}
		for i := range pods.Items {
			b.t.Logf("hub %s is %s\n%s", pods.Items[i].Name, state(&pods.Items[i]), b.hubLog(pods.Items[i].Name))
		}
	})
}
