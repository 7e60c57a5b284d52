package e2e_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/join"
	"atoll.dev/atoll/internal/testfleet"
)

// TestOneCommandJoinsAllContextsThatItCan meets every kind of context at once:
// one to join, one that has joined, one that is the same cluster again, one
// that nobody answers, one without the rights.
func TestOneCommandJoinsAllContextsThatItCan(t *testing.T) {
	f := fleet(t)
	a, c := f.Member("a"), f.Member("c")
	t.Cleanup(func() {
		uninstall(t, c)
		c.Leave("all-c")
	})
	path := contexts(t, map[string]*testfleet.Member{"all-a": a, "all-c": c, "twin/all-c": c},
		map[string]*api.AuthInfo{"all-powerless": {Token: tokenOfNobody(t, a)}}, a)
	command := []string{"join", "--contexts", "all-*", "--contexts-from", path, "--owner", "tests", "--label", "stage=joined", "--timeout", "90s"}

	dry := f.Hub.CLI(append(command, "--dry-run")...)
	if dry.Code != 3 || !has(dry.Stdout, "joined already as a", "would be registered, installed and accepted", "does not answer") {
		t.Fatalf("dry run: %s", dry)
	}
	if exists(t, c, &corev1.Namespace{}, "", v1alpha1.SystemNamespace) && exists(t, c, &corev1.Secret{}, v1alpha1.SystemNamespace, join.BootstrapSecret) {
		t.Fatal("a dry run installed something")
	}

	// The sandbox runs the program beside it under this tag.
	image := append(command, "--image", "registry.example.org/atoll-agent:dev")
	r := f.Hub.CLI(image...)
	if r.Code != 3 || !has(r.Stdout, "all-c", "connected", "joined already as a", "its API does not answer", "read its identity") ||
		!has(r.Stderr, "2 clusters of 4 not joined", "run the same command again") {
		t.Errorf("join: %s", r)
	}
	if got := cluster(t, f, "all-c"); !got.Spec.Accepted || got.Labels["stage"] != "joined" || got.Spec.Owner != "tests" {
		t.Errorf("all-c was registered as %+v with labels %v", got.Spec, got.Labels)
	}
	if r := f.Hub.CLI(append(image[:2:2], append([]string{"all-[!x]"}, image[3:]...)...)...); r.Code != 2 || !has(r.Stderr, "no context matches") {
		t.Errorf("a pattern in vain: %s", r)
	}
	if r := f.Hub.CLI("join", "--contexts", "all-c,twin/*", "--name-template", "all-c", "--contexts-from", path); r.Code != 2 || !has(r.Stderr, "would both become cluster all-c") {
		t.Errorf("two contexts of one name: %s", r)
	}
	again := f.Hub.CLI("join", "--contexts", "all-c,twin/*", "--contexts-from", path)
	if again.Code != 3 || !has(again.Stdout, "joined already", "reaches the same cluster as context") {
		t.Errorf("again: %s", again)
	}
}

// tokenOfNobody is an account's that may do nothing.
func tokenOfNobody(t *testing.T, m *testfleet.Member) string {
	t.Helper()
	account := &corev1.ServiceAccount{}
	account.Namespace, account.Name = "default", "nobody"
	if err := m.Client().Create(t.Context(), account); client.IgnoreAlreadyExists(err) != nil {
		t.Fatal(err)
	}
	request := &authenticationv1.TokenRequest{}
	if err := m.Client().SubResource("token").Create(t.Context(), account, request); err != nil {
		t.Fatal(err)
	}
	return request.Status.Token
}

// contexts writes a kubeconfig with the members, others' credentials on one of
// them, and a context that nobody answers.
func contexts(t *testing.T, members map[string]*testfleet.Member, others map[string]*api.AuthInfo, of *testfleet.Member) string {
	t.Helper()
	out := api.NewConfig()
	out.Clusters["gone"] = &api.Cluster{Server: "https://127.0.0.1:1"}
	out.Contexts["all-gone"] = &api.Context{Cluster: "gone", AuthInfo: "gone"}
	out.AuthInfos["gone"] = &api.AuthInfo{Token: "none"}
	for name, m := range members {
		cfg := m.Config()
		out.Clusters[name] = &api.Cluster{Server: cfg.Host, CertificateAuthorityData: cfg.CAData}
		out.AuthInfos[name] = &api.AuthInfo{Token: cfg.BearerToken, ClientCertificateData: cfg.CertData, ClientKeyData: cfg.KeyData}
		out.Contexts[name] = &api.Context{Cluster: name, AuthInfo: name}
	}
	for name, auth := range others {
		cfg := of.Config()
		out.Clusters[name] = &api.Cluster{Server: cfg.Host, CertificateAuthorityData: cfg.CAData}
		out.AuthInfos[name], out.Contexts[name] = auth, &api.Context{Cluster: name, AuthInfo: name}
	}
	path := filepath.Join(t.TempDir(), "contexts.kubeconfig")
	if err := clientcmd.WriteToFile(*out, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// uninstall ends an agent that is a pod of the member.
func uninstall(t *testing.T, m *testfleet.Member) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	agent := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: join.AgentAccount}}
	if err := m.Client().Delete(ctx, agent); client.IgnoreNotFound(err) != nil {
		t.Error(err)
	}
	for {
		running, err := m.Sandbox.PodProcesses()
		if err != nil || ctx.Err() != nil {
			t.Errorf("end the agent in %s: %v, %v", m.Name, err, ctx.Err())
			return
		}
		if len(running) == 0 {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}
