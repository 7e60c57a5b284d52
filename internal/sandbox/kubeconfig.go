package sandbox

import (
	"fmt"
	"os"
	"path/filepath"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// insideKubeconfig is the admin's for what is inside the cluster.
const insideKubeconfig = "inside.kubeconfig"

// kubeconfigUsers are the files written beside state.json: the admin's, from
// outside and inside, and one for each component that talks to the API.
var kubeconfigUsers = map[string]string{
	"kubeconfig":                         "admin",
	insideKubeconfig:                     "admin",
	"kube-controller-manager.kubeconfig": "kube-controller-manager",
	"kube-scheduler.kubeconfig":          "kube-scheduler",
	"kwok.kubeconfig":                    "kwok",
	"node.kubeconfig":                    "node",
	"kube-proxy.kubeconfig":              "kube-proxy",
}

func (c *Cluster) writeKubeconfigs() error {
	for file, user := range kubeconfigUsers {
		server := c.state.Server()
		if file == "kubeconfig" {
			server = c.state.OutsideServer()
		}
		data, err := c.kubeconfigFor(user, server)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(c.dir, file), data, 0o600); err != nil {
			return fmt.Errorf("write kubeconfig: %w", err)
		}
	}
	return nil
}

func (c *Cluster) kubeconfigFor(user, server string) ([]byte, error) {
	tls, err := c.tlsFor(user)
	if err != nil {
		return nil, err
	}
	name := c.Name()
	return clientcmd.Write(api.Config{
		Clusters:       map[string]*api.Cluster{name: {Server: server, CertificateAuthorityData: tls.CAData}},
		AuthInfos:      map[string]*api.AuthInfo{name: {ClientCertificateData: tls.CertData, ClientKeyData: tls.KeyData}},
		Contexts:       map[string]*api.Context{name: {Cluster: name, AuthInfo: name, Namespace: "default"}},
		CurrentContext: name,
	})
}

// tlsFor reads the cluster's CA and a client's pair.
func (c *Cluster) tlsFor(user string) (rest.TLSClientConfig, error) {
	var tls rest.TLSClientConfig
	for file, into := range map[string]*[]byte{"ca.crt": &tls.CAData, user + ".crt": &tls.CertData, user + ".key": &tls.KeyData} {
		data, err := os.ReadFile(filepath.Join(c.dir, "pki", file))
		if err != nil {
			return tls, fmt.Errorf("cluster %s: %w", c.Name(), err)
		}
		*into = data
	}
	return tls, nil
}

// RESTConfig is a fresh client configuration of the cluster's admin inside the
// cluster, which no fault of the network reaches, without
// client-side throttling: the server's own fairness is enough here.
func (c *Cluster) RESTConfig() (*rest.Config, error) {
	tls, err := c.tlsFor("admin")
	if err != nil {
		return nil, err
	}
	return &rest.Config{Host: c.state.Server(), TLSClientConfig: tls, QPS: -1}, nil
}

// KubeconfigPath is the admin's kubeconfig for everything outside the cluster,
// a file with mode 0600. It leads through the edge.
func (c *Cluster) KubeconfigPath() string { return filepath.Join(c.dir, "kubeconfig") }

// InsideKubeconfigPath is the same past the edge, as a pod reaches the API.
func (c *Cluster) InsideKubeconfigPath() string { return filepath.Join(c.dir, insideKubeconfig) }
