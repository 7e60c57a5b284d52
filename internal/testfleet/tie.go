package testfleet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/join"
)

func (m *member) bootstrapDir() string    { return filepath.Join(m.dir, "bootstrap") }
func (m *member) agentKubeconfig() string { return filepath.Join(m.dir, "kubeconfig") }

// tie brings the member under the hub and waits until it is connected.
func (m *member) tie(ctx context.Context, mode Mode) error {
	name := m.spec.Spec.Name
	register := m.joining(name)
	switch mode {
	case Alone:
		return nil
	case Direct:
		if _, err := m.cli(ctx, append(register, "--direct", m.cluster.KubeconfigPath())...); err != nil {
			return err
		}
	case Agent:
		if err := m.register(ctx, register); err != nil {
			return err
		}
		if err := m.agent.start(); err != nil {
			return err
		}
		if _, err := m.cli(ctx, "accept", name); err != nil {
			return fmt.Errorf("%w\nthe agent's log:\n%s", err, m.agent.lastWords(20))
		}
	}
	_, err := m.cli(ctx, "wait", "cluster/"+name, "--for=connected", "--timeout="+patience.String())
	if err != nil {
		return fmt.Errorf("%w\nthe agent's log:\n%s", err, m.agent.lastWords(20))
	}
	return nil
}

func (m *member) joining(name string) []string {
	return append([]string{"join", name, "--owner", "tests"}, m.spec.Join...)
}

// register runs `atoll join` and applies what it prints to the member.
func (m *member) register(ctx context.Context, command []string) error {
	manifests, err := m.cli(ctx, append(command, "-o", "yaml")...)
	if err != nil {
		return err
	}
	if err := m.install(ctx, []byte(manifests)); err != nil {
		return fmt.Errorf("install the agent in %s: %w", m.spec.Spec.Name, err)
	}
	return nil
}

// forget takes away what an agent keeps in its member: its keys and its store.
func (m *member) forget(ctx context.Context) error {
	return m.client.DeleteAllOf(ctx, &corev1.Secret{}, client.InNamespace(v1alpha1.SystemNamespace))
}

func (m *member) cli(ctx context.Context, args ...string) (string, error) {
	r, err := m.hub.run(ctx, "", args...)
	if err == nil && r.Code != 0 {
		err = fmt.Errorf("atoll %v: %s", args, r)
	}
	return r.Stdout, err
}

// install does what `kubectl apply -f -` would, and prepares the files that
// the agent's pod would find.
func (m *member) install(ctx context.Context, manifests []byte) error {
	if err := os.MkdirAll(m.bootstrapDir(), 0o700); err != nil {
		return err
	}
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(manifests), 4096)
	for {
		u := &unstructured.Unstructured{}
		if err := decoder.Decode(u); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
		if err := m.installOne(ctx, u); err != nil {
			return err
		}
	}
	return m.writeAgentKubeconfig(ctx)
}

func (m *member) installOne(ctx context.Context, u *unstructured.Unstructured) error {
	switch {
	case u.GetKind() == "Deployment":
		return nil // the child process is its pod
	case u.GetKind() == "Secret" && u.GetName() == join.BootstrapSecret:
		files, _, err := unstructured.NestedStringMap(u.Object, "stringData")
		if err != nil {
			return err
		}
		for name, data := range files {
			if err := os.WriteFile(filepath.Join(m.bootstrapDir(), name), []byte(data), 0o600); err != nil {
				return err
			}
		}
	}
	return m.client.Apply(ctx, client.ApplyConfigurationFromUnstructured(u), client.FieldOwner("kubectl"), client.ForceOwnership)
}

// writeAgentKubeconfig gives the process the account of the agent's pod.
func (m *member) writeAgentKubeconfig(ctx context.Context) error {
	day := int64(24 * 60 * 60)
	token := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &day}}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: join.AgentAccount}}
	if err := m.client.SubResource("token").Create(ctx, account, token); err != nil {
		return fmt.Errorf("make a token of %s: %w", join.AgentAccount, err)
	}
	const only = "member"
	return clientcmd.WriteToFile(api.Config{
		Clusters:       map[string]*api.Cluster{only: {Server: m.config.Host, CertificateAuthorityData: m.config.CAData}},
		AuthInfos:      map[string]*api.AuthInfo{only: {Token: token.Status.Token}},
		Contexts:       map[string]*api.Context{only: {Cluster: only, AuthInfo: only}},
		CurrentContext: only,
	}, m.agentKubeconfig())
}
