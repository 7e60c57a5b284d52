package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
	"sigs.k8s.io/controller-runtime/pkg/client"

	fleetapi "atoll.dev/atoll/internal/fleet"
	"atoll.dev/atoll/internal/testfleet"
)

// What streams in both directions passes two or three API servers and the
// agent: people reach a pod with the one kubeconfig they have.
func TestLogsExecAndPortForwardReachAPodThroughTheHub(t *testing.T) {
	f := fleet(t)
	f.Project("tunnel")
	f.Deploy("tunnel", "web", pod("web"), "--cluster", "a").Settles(1)
	a := f.Member("a")
	binding := &rbacv1.RoleBinding{
		ObjectMeta: named("tunnel", "tunnel"),
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "edit"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "atoll:atoll-admin"}},
	}
	if err := a.Client().Create(t.Context(), binding); err != nil {
		t.Fatal(err)
	}
	page := forwarded(t, f, "tunnel", "web")
	if !has(page, `"web"`, `"tunnel"`) {
		t.Errorf("the pod answers %s", page)
	}
	kubectl := func(args ...string) testfleet.Result {
		return f.Hub.CLI(append([]string{"kubectl", "-C", "a", "--", "-n", "tunnel"}, args...)...)
	}
	if r := kubectl("exec", "web", "--", "echo", "over the tunnel"); r.Code != 0 || !has(r.Stdout, "over the tunnel") {
		t.Errorf("exec: %s", r)
	}
	if r := kubectl("exec", "web", "--", "false"); r.Code != 1 {
		t.Errorf("the exit code of a command is lost: %s", r)
	}
	if r := kubectl("logs", "web"); r.Code != 0 || !has(r.Stdout, "GET /from-here") {
		t.Errorf("logs: %s", r)
	}
}

// pod is a manifest of one that answers HTTP.
func pod(name string) string {
	return manifest("Pod", name, map[string]any{"spec": map[string]any{"containers": []any{
		map[string]any{"name": "main", "image": "web:1", "ports": []any{map[string]any{"containerPort": 8080}}},
	}}})
}

// forwarded is what the pod answers to a request through a forwarded port.
func forwarded(t *testing.T, f *testfleet.Fleet, namespace, name string) string {
	t.Helper()
	eventually(t, "the pod runs", func(ctx context.Context) error {
		p := &corev1.Pod{}
		err := f.Member("a").Client().Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, p)
		if err == nil && !ready(p) {
			err = errors.New("not ready")
		}
		return err
	})
	config := f.Hub.Config()
	transport, upgrader, err := spdy.RoundTripperFor(config)
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequest(http.MethodPost, config.Host+fleetapi.Path+"/clusters/a/proxy/api/v1/namespaces/"+namespace+"/pods/"+name+"/portforward", nil)
	if err != nil {
		t.Fatal(err)
	}
	stop, open := make(chan struct{}), make(chan struct{})
	dialer := spdy.NewDialer(upgrader, &http.Client{Transport: transport}, http.MethodPost, request.URL)
	forwarder, err := portforward.NewOnAddresses(dialer, []string{"127.0.0.1"}, []string{"0:8080"}, stop, open, io.Discard, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- forwarder.ForwardPorts() }()
	select {
	case <-open:
	case err := <-ended:
		t.Fatalf("forward a port: %v", err)
	}
	defer func() { close(stop); <-ended }()
	ports, err := forwarder.GetPorts()
	if err != nil {
		t.Fatal(err)
	}
	return get(t, ports[0].Local)
}

func get(t *testing.T, port uint16) string {
	t.Helper()
	response, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/from-here", port))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(body))
}

func ready(p *corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}
