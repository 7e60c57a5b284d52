package cli

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"atoll.dev/atoll/api/v1alpha1"
)

const systemNamespace = v1alpha1.SystemNamespace

var secrets = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}

// directSecret is the Secret that holds the kubeconfig of a direct cluster.
func directSecret(cluster string) string { return "direct-" + cluster }

// storeKubeconfig gives the hub one context of a kubeconfig, with its files inside.
func (c *console) storeKubeconfig(ctx context.Context, h *hub, cluster, path string) error {
	config, err := clientcmd.LoadFromFile(path)
	if err != nil {
		return wrong("--direct %s: %v", path, cause(err))
	}
	if err := selfContained(config); err != nil {
		return wrong("--direct %s: %v", path, err)
	}
	data, err := clientcmd.Write(*config)
	if err != nil {
		return fmt.Errorf("encode the kubeconfig of %s: %w", cluster, err)
	}
	namespace, err := h.ownNamespace(ctx)
	if err != nil {
		return err
	}
	secret := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Secret", "type": "Opaque",
		"metadata":   map[string]any{"name": directSecret(cluster), "namespace": namespace},
		"stringData": map[string]any{"kubeconfig": string(data)},
	}}
	_, err = h.objects.Resource(secrets).Namespace(namespace).Apply(ctx, secret.GetName(), secret, metav1.ApplyOptions{FieldManager: fieldManager, Force: true})
	if err != nil {
		return fmt.Errorf("store the kubeconfig of %s: %w", cluster, err)
	}
	return nil
}

// ownNamespace is where the hub keeps its own.
func (h *hub) ownNamespace(ctx context.Context) (string, error) {
	o, err := h.fleet.Overview(ctx)
	if err != nil {
		return "", fmt.Errorf("ask the hub where it keeps kubeconfigs: %w", err)
	}
	return o.Hub.Namespace, nil
}

// selfContained keeps the current context only and takes files inside.
func selfContained(config *clientcmdapi.Config) error {
	if config.CurrentContext == "" {
		return fmt.Errorf("it has no current context")
	}
	if err := clientcmdapi.MinifyConfig(config); err != nil {
		return err
	}
	return clientcmdapi.FlattenConfig(config)
}
