package release_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/internal/sandbox"
	"atoll.dev/atoll/internal/testfleet"
)

const hubNamespace = "atoll-hub"

// host is a real cluster, with the hub's namespace as strict as namespaces are.
type host struct {
	t       *testing.T
	cluster *sandbox.Cluster
	config  *rest.Config
	client  client.Client
}

func newHost(t *testing.T) *host {
	t.Helper()
	if _, err := testfleet.Program("atoll"); err != nil {
		if os.Getenv(testfleet.RequiredVariable) != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	h := &host{t: t, cluster: sandbox.StartSpecs(t, sandbox.ClusterSpec{Name: "host", Nodes: 1}).Cluster("host")}
	var err error
	if h.config, err = h.cluster.RESTConfig(); err != nil {
		t.Fatal(err)
	}
	if h.client, err = client.New(h.config, client.Options{}); err != nil {
		t.Fatal(err)
	}
	h.must(h.client.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: hubNamespace, Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"},
	}}))
	return h
}

func (h *host) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// install applies objects as helm does, but for Deployments: the cluster only
// judges those, and a pod as each would make it.
func (h *host) install(objects map[string]map[string]any) {
	h.t.Helper()
	order := func(key string) int {
		return slices.Index([]string{"ServiceAccount", "Namespace"}, strings.Fields(key)[0])
	}
	keys := []string{}
	for key := range objects {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b string) int { return order(b) - order(a) })
	for _, key := range keys {
		u := &unstructured.Unstructured{Object: objects[key]}
		options := []client.ApplyOption{client.FieldOwner("helm"), client.ForceOwnership}
		if u.GetKind() == "Deployment" {
			options = append(options, client.DryRunAll)
			h.judgePod(u)
		}
		if err := h.client.Apply(h.t.Context(), client.ApplyConfigurationFromUnstructured(u), options...); err != nil {
			h.t.Errorf("%s: %v", key, err)
		}
	}
}

// judgePod is needed since a namespace's standard refuses pods alone.
func (h *host) judgePod(deployment *unstructured.Unstructured) {
	h.t.Helper()
	template, _, err := unstructured.NestedMap(deployment.Object, "spec", "template")
	h.must(err)
	var pod corev1.Pod
	h.must(runtime.DefaultUnstructuredConverter.FromUnstructured(template, &pod))
	pod.Namespace, pod.GenerateName = deployment.GetNamespace(), deployment.GetName()+"-"
	if err := h.client.Create(h.t.Context(), &pod, client.DryRunAll); err != nil {
		h.t.Errorf("a pod of %s: %v", deployment.GetName(), err)
	}
}

// kubeconfig gives a process the account of the hub's pods.
func (h *host) kubeconfig() string {
	h.t.Helper()
	token := &authenticationv1.TokenRequest{}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: hubNamespace, Name: "atoll-hub"}}
	h.must(h.client.SubResource("token").Create(h.t.Context(), account, token))
	admin, err := clientcmd.LoadFromFile(h.cluster.KubeconfigPath())
	h.must(err)
	for _, c := range admin.Contexts {
		c.AuthInfo = "hub"
	}
	admin.AuthInfos = map[string]*api.AuthInfo{"hub": {Token: token.Status.Token}}
	path := filepath.Join(h.t.TempDir(), "kubeconfig")
	h.must(clientcmd.WriteToFile(*admin, path))
	return path
}

// run starts the hub under the account, and ends it with the test.
func (h *host) run(log *os.File) {
	h.t.Helper()
	program, err := testfleet.Program("atoll")
	h.must(err)
	dir := h.t.TempDir()
	cmd := exec.Command(program, "hub", "--kubeconfig", h.kubeconfig(), "--namespace", hubNamespace,
		"--data-dir", filepath.Join(dir, "data"), "--keys", filepath.Join(dir, "keys"), "--content", filepath.Join(dir, "content"),
		"--listen", freeAddress(h.t), "--agent-listen", freeAddress(h.t), "--heartbeat", "500ms")
	cmd.Stdout, cmd.Stderr = log, log
	h.must(cmd.Start())
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	h.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-ended
		if words, err := os.ReadFile(log.Name()); h.t.Failed() {
			h.t.Logf("the hub said (%v):\n%s", err, words)
		}
	})
	testfleet.Eventually(h.t, "the hub is ready", func(context.Context) error {
		words, err := os.ReadFile(log.Name())
		if err == nil && !bytes.Contains(words, []byte("hub ready")) {
			err = fmt.Errorf("it says:\n%s", words)
		}
		return err
	})
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// atoll runs the command line as the cluster's administrator.
func (h *host) atoll(args ...string) string {
	h.t.Helper()
	program, err := testfleet.Program("atoll")
	h.must(err)
	cmd := exec.CommandContext(h.t.Context(), program, args...)
	cmd.Env = append(os.Environ(), "ATOLL_KUBECONFIG="+h.cluster.KubeconfigPath(), "NO_COLOR=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		h.t.Fatalf("atoll %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// may asks the cluster what the hub's account is allowed to.
func (h *host) may(verb, group, resource, namespace, name string) bool {
	h.t.Helper()
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User:   "system:serviceaccount:" + hubNamespace + ":atoll-hub",
		Groups: []string{"system:serviceaccounts", "system:serviceaccounts:" + hubNamespace, "system:authenticated"},
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Verb: verb, Group: group, Resource: resource, Namespace: namespace, Name: name,
		},
	}}
	h.must(h.client.Create(h.t.Context(), review))
	return review.Status.Allowed
}

// Under the account of the chart, and in a cluster that enforces the strictest
// standard for pods, a hub delivers an application with a secret to a member.
func TestTheChartsFitAClusterAndTheHubsAccountSuffices(t *testing.T) {
	h := newHost(t)
	values := hubValues()
	values["networkPolicy"] = map[string]any{"enabled": true}
	values["imagePullSecrets"] = []any{map[string]any{"name": "pull"}}
	hub, err := render(t, packaged(t, "atoll", "v1.2.3"), hubNamespace, values)
	h.must(err)
	h.install(hub)
	agent, err := render(t, packaged(t, "atoll-agent", "v1.2.3"), "default", bootstrap(t))
	h.must(err)
	h.install(agent)

	log, err := os.Create(filepath.Join(t.TempDir(), "hub.log"))
	h.must(err)
	h.run(log)
	h.atoll("join", "member", "--owner", "tests", "--label", "stage=production", "--direct", h.cluster.KubeconfigPath())
	h.atoll("wait", "cluster/member", "--for=connected", "--timeout=120s")
	manifest := filepath.Join(t.TempDir(), "web.yaml")
	h.must(os.WriteFile(manifest, []byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"web"},"data":{"a":"b"}}
---
{"apiVersion":"v1","kind":"Secret","metadata":{"name":"web"},"stringData":{"password":"hidden"}}
`), 0o600))
	h.atoll("deploy", "web", "-f", manifest, "-p", "shop", "--create-project", "--to", "stage=production", "--wait", "--timeout=120s")
	secret := &corev1.Secret{}
	h.must(h.client.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "web"}, secret))
	if string(secret.Data["password"]) != "hidden" {
		t.Errorf("delivered was %q", secret.Data)
	}
	h.atoll("join", "other", "--owner", "tests", "-o", "yaml")
	if events := h.atoll("events", "app/web", "-p", "shop"); !strings.Contains(events, "RevisionAdmitted") {
		t.Errorf("the hub may write no events:\n%s", events)
	}
	for _, said := range []string{
		h.atoll("grant", "developer", "--group", "team", "-p", "shop"), h.atoll("grant", "operator", "--user", "ann", "--fleet"),
		h.atoll("revoke", "developer-team", "-p", "shop"), h.atoll("revoke", "operator-ann", "--fleet"),
	} {
		if strings.Contains(said, "yet") {
			t.Errorf("the hub may not give roles: %s", said)
		}
	}
	words, err := os.ReadFile(log.Name())
	h.must(err)
	for line := range strings.Lines(string(words)) {
		if strings.Contains(line, "forbidden") || strings.Contains(line, "cannot list") {
			t.Errorf("the hub lacks a right: %s", line)
		}
	}
	h.limits()
}

// limits are what a hub that is taken over does not reach, and what only one
// that runs as a pod needs.
func (h *host) limits() {
	for _, q := range []struct {
		want                                   bool
		verb, group, resource, namespace, name string
	}{
		{true, "patch", "", "pods", hubNamespace, "atoll-hub-1"},
		{true, "patch", "", "services", hubNamespace, "atoll-hub-leader"},
		{false, "create", "", "pods", hubNamespace, ""},
		{false, "get", "", "secrets", "kube-system", "any"},
		{false, "get", "", "secrets", "shop", "web"},
		{false, "delete", "", "namespaces", "", "shop"},
		{false, "patch", "apiextensions.k8s.io", "customresourcedefinitions", "", "certificates.cert-manager.io"},
		{false, "patch", "rbac.authorization.k8s.io", "clusterroles", "", "cluster-admin"},
		{false, "patch", "admissionregistration.k8s.io", "validatingwebhookconfigurations", "", "kyverno"},
		{false, "escalate", "rbac.authorization.k8s.io", "clusterroles", "", "atoll:admins"},
		{false, "escalate", "rbac.authorization.k8s.io", "clusterroles", "", "atoll:admin"},
		{false, "bind", "rbac.authorization.k8s.io", "clusterroles", "", "cluster-admin"},
		{false, "patch", "rbac.authorization.k8s.io", "clusterroles", "", "atoll:secrets"},
		{false, "impersonate", "", "users", "", "system:admin"},
	} {
		if got := h.may(q.verb, q.group, q.resource, q.namespace, q.name); got != q.want {
			h.t.Errorf("%s %s.%s %s/%s is allowed: %v", q.verb, q.resource, q.group, q.namespace, q.name, got)
		}
	}
}
