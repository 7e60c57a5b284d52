package hub

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/validation"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/apiserver"
)

// defaultHostNamespace is not atoll-system: the cluster may be a member too, and
// then its agent keeps its own there.
const defaultHostNamespace = "atoll-hub"

// hostFlags choose an existing Kubernetes cluster as the store.
type hostFlags struct {
	kubeconfig, namespace string
	inCluster             bool
}

func (h *hostFlags) add(f *pflag.FlagSet) {
	f.StringVar(&h.kubeconfig, "kubeconfig", "", "kubeconfig of an existing Kubernetes cluster to store in, instead of an etcd")
	f.BoolVar(&h.inCluster, "in-cluster", false, "store in the cluster that this hub is a pod of, as its service account")
	f.StringVar(&h.namespace, "namespace", "", "namespace of that cluster for what the hub itself keeps (default: "+defaultHostNamespace+")")
}

// choose sets the host of o, if the flags name one.
func (h *hostFlags) choose(o *Options) error {
	switch {
	case h.kubeconfig == "" && !h.inCluster:
		if h.namespace != "" {
			return errors.New("--namespace is for an existing cluster to store in: add --kubeconfig or --in-cluster")
		}
		return nil
	case h.kubeconfig != "" && h.inCluster:
		return errors.New("--kubeconfig and --in-cluster both name a cluster to store in; give one")
	case len(o.Etcd.Servers) > 0:
		return errors.New("--etcd-servers and a cluster to store in exclude each other: the cluster has an etcd of its own")
	case o.Content == "" || o.Keys == "":
		return errors.New("a hub that stores in an existing cluster needs --content, which all its replicas share, and --keys, which the cluster must not hold: neither can lie in --data-dir")
	}
	if h.kubeconfig != "" {
		if _, err := os.Stat(h.kubeconfig); err != nil {
			return fmt.Errorf("--kubeconfig: %w", err)
		}
	}
	namespace := h.namespace
	if namespace == "" {
		namespace = defaultHostNamespace
	}
	if err := checkHostNamespace(namespace); err != nil {
		return err
	}
	o.Host = &apiserver.HostCluster{Kubeconfig: h.kubeconfig, Namespace: namespace}
	return nil
}

func checkHostNamespace(name string) error {
	if problems := validation.IsDNS1123Label(name); len(problems) > 0 {
		return fmt.Errorf("--namespace %q: %s", name, strings.Join(problems, "; "))
	}
	if name == v1alpha1.SystemNamespace || name == "default" || strings.HasPrefix(name, "kube-") {
		return fmt.Errorf("--namespace %s belongs to the cluster or to an agent in it; choose another", name)
	}
	return nil
}
