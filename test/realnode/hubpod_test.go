package realnode_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
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
func TestHubsInPodsDeliverAndAreUpgraded(t *testing.T) {
	t.Parallel() // a cluster of its own, and it mostly waits
	b := start(t, "real-3")
	program := filepath.Join(filepath.Dir(b.program()), staticHub)
	if _, err := os.Stat(program); err != nil {
		t.Fatalf("%v: run `make bin/%s`", err, staticHub)
	}
	b.load("./server", "", serverImage)
	b.loadAgent(chartVersion)
	b.give(program, hubImage+":"+chartVersion, hubImage+":next")
	content := b.registry()
	a := admin{b, b.program(), b.cluster.KubeconfigPath()}

	address := b.prepareHub(a, content)
	b.showHubsOnFailure()
	values := map[string]any{
		"publicAddress": address,
		"content":       map[string]any{"oci": content.location(), "caSecret": "registry-ca"},
		"agents":        map[string]any{"service": map[string]any{"type": "ClusterIP"}},
		"replicas":      2,
	}
	b.helm("atoll", hubNamespace, values)
	b.hubsAre(chartVersion)

	b.showAgentOnFailure()
	bootstrap := map[string]any{}
	if err := yaml.Unmarshal([]byte(a.cli("", "join", "real-3", "--owner", "tests", "-o", "bootstrap")), &bootstrap); err != nil {
		t.Fatal(err)
	}
	b.helm("atoll-agent", metav1.NamespaceDefault, bootstrap)
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

	t.Run("another version takes over and delivers", func(t *testing.T) {
		values["image"] = hubImage + ":next"
		b.upgradesHubs(t, a, values)
	})
	t.Run("one with a store of its own keeps it on its volume", func(t *testing.T) { b.embeds(t) })
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

// hubsAre waits until two hubs of that version are ready, no others are left,
// and one of them leads.
func (b *bed) hubsAre(version string) {
	b.t.Helper()
	b.eventually("two hubs run as "+version, func(context.Context) error {
		hubs, leads := b.hubs(), false
		for i := range hubs {
			if !ready(&hubs[i]) || hubs[i].Spec.Containers[0].Image != hubImage+":"+version {
				return errors.New(state(&hubs[i]))
			}
			leads = leads || hubs[i].Labels["atoll.dev/hub-leader"] == "true"
		}
		if len(hubs) != 2 || !leads {
			return fmt.Errorf("there are %d; one leads: %v", len(hubs), leads)
		}
		return nil
	})
}

// upgradesHubs ends every hub, one by one, and expects that the application's
// next state comes from another.
func (b *bed) upgradesHubs(t *testing.T, a admin, values map[string]any) {
	before, agent := b.shop(), b.agentIs(chartVersion)
	b.helm("atoll", hubNamespace, values)
	b.hubsAre("next")
	three := strings.Replace(shop, "replicas: 2", "replicas: 3", 1)
	b.eventually("another hub takes the next state", func(ctx context.Context) error {
		_, err := a.run(ctx, three, "deploy", "shop", "-f", "-", "--project", "demo", "--cluster", "real-3", "--wait", "--timeout=1m")
		return err
	})
	if now := b.shop(); now.UID != before.UID || now.Status.ReadyReplicas != 3 {
		t.Errorf("delivered is %s with %d pods ready, before %s", now.UID, now.Status.ReadyReplicas, before.UID)
	}
	if now := b.agentIs(chartVersion); now.UID != agent.UID || now.Status.ContainerStatuses[0].RestartCount > 0 {
		t.Errorf("the agent did not stay: %s", state(now))
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
