package demo

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/join"
	"atoll.dev/atoll/internal/sandbox"
)

// tokenLife is far longer than a demo; `up` makes a new one for each agent.
const tokenLife = 30 * 24 * time.Hour

func kubeconfigIn(dir string) string { return filepath.Join(dir, "kubeconfig") }
func bootstrapIn(dir string) string  { return filepath.Join(dir, "bootstrap.yaml") }

// install applies the manifests with the cluster's own admin, and keeps the
// bootstrap Secret as the file that an agent outside the cluster reads.
func install(ctx context.Context, cluster *sandbox.Cluster, manifests []byte, dir string) error {
	objects, err := parse(manifests)
	if err != nil {
		return err
	}
	cfg, err := cluster.RESTConfig()
	if err != nil {
		return err
	}
	client, err := dynamic.NewForConfig(cfg)
	if err != nil {
		return err
	}
	kinds, err := discovery.NewDiscoveryClientForConfig(cfg)
	if err != nil {
		return err
	}
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(kinds))
	for _, o := range objects {
		if o.GetKind() == "Secret" && o.GetName() == join.BootstrapSecret {
			if err := writeBootstrap(o, dir); err != nil {
				return err
			}
		}
		if o.GetKind() == "Deployment" {
			continue
		}
		if err := applyOne(ctx, client, mapper, o); err != nil {
			return fmt.Errorf("install %s %s: %w", o.GetKind(), o.GetName(), err)
		}
	}
	return nil
}

func parse(manifests []byte) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(manifests), 4096)
	for {
		o := &unstructured.Unstructured{}
		err := decoder.Decode(&o.Object)
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read what atoll join printed: %w", err)
		}
		if len(o.Object) > 0 {
			objects = append(objects, o)
		}
	}
}

func applyOne(ctx context.Context, client dynamic.Interface, mapper meta.RESTMapper, o *unstructured.Unstructured) error {
	gvk := o.GroupVersionKind()
	mapping, err := mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if err != nil {
		return err
	}
	var resource dynamic.ResourceInterface = client.Resource(mapping.Resource)
	if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
		resource = client.Resource(mapping.Resource).Namespace(o.GetNamespace())
	}
	_, err = resource.Apply(ctx, o.GetName(), o, metav1.ApplyOptions{FieldManager: "kubectl", Force: true})
	return err
}

func writeBootstrap(secret *unstructured.Unstructured, dir string) error {
	ticket, err := join.TicketFrom(func(key string) ([]byte, error) {
		if text, found, _ := unstructured.NestedString(secret.Object, "stringData", key); found {
			return []byte(text), nil
		}
		text, _, err := unstructured.NestedString(secret.Object, "data", key)
		if err != nil {
			return nil, err
		}
		return base64.StdEncoding.DecodeString(text)
	})
	if err != nil {
		return err
	}
	data, err := ticket.Encode()
	if err != nil {
		return err
	}
	return os.WriteFile(bootstrapIn(dir), data, 0o600)
}

// writeAgentKubeconfig makes the agent its ServiceAccount, so that the rights
// in the manifests are all it has.
func writeAgentKubeconfig(ctx context.Context, cluster *sandbox.Cluster, dir string) error {
	cfg, err := cluster.RESTConfig()
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return err
	}
	seconds := int64(tokenLife / time.Second)
	answer, err := client.CoreV1().ServiceAccounts(v1alpha1.SystemNamespace).CreateToken(ctx, join.AgentAccount,
		&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("ask for a token of %s: %w", join.AgentAccount, err)
	}
	name := cluster.Name()
	return clientcmd.WriteToFile(api.Config{
		Clusters:       map[string]*api.Cluster{name: {Server: cfg.Host, CertificateAuthorityData: cfg.CAData}},
		AuthInfos:      map[string]*api.AuthInfo{name: {Token: answer.Status.Token}},
		Contexts:       map[string]*api.Context{name: {Cluster: name, AuthInfo: name}},
		CurrentContext: name,
	}, kubeconfigIn(dir))
}
