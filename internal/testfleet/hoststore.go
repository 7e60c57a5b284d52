package testfleet

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/internal/apiserver/pki"
	"atoll.dev/atoll/internal/sandbox"
)

// hostStore is a Kubernetes cluster, which no member knows of.
type hostStore struct {
	dir     string
	sandbox *sandbox.Fleet
}

const hostName = "host"

// The admin has the name that the embedded API's has.
const (
	hostAdmin  = "atoll-admin"
	hostAdmins = "atoll:admins"
)

func newHostStore(dir string) (*hostStore, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	box, err := sandbox.NewBound(dir)
	return &hostStore{dir, box}, err
}

func (s *hostStore) flags() []string {
	// Where the sandbox puts it; the cluster is not up yet.
	return []string{
		"--kubeconfig", filepath.Join(s.dir, hostName, "kubeconfig"),
		"--keys", filepath.Join(s.dir, "keys"), "--content", filepath.Join(s.dir, "content"),
	}
}

func (s *hostStore) kubeconfig() string { return filepath.Join(s.dir, "admin.kubeconfig") }

// begin returns when the cluster runs and knows the hub's admin.
func (s *hostStore) begin(ctx context.Context) error {
	if _, err := os.Stat(s.kubeconfig()); err == nil {
		return nil // it outlives the hub
	}
	if err := s.sandbox.Up(ctx, []sandbox.ClusterSpec{{Name: hostName, Nodes: 1}}); err != nil {
		return fmt.Errorf("bring up the cluster that the hub stores in: %w", err)
	}
	cluster, err := s.sandbox.Cluster(hostName)
	if err != nil {
		return err
	}
	if err := s.trustAdmin(ctx, cluster); err != nil {
		return err
	}
	return s.writeKubeconfig(cluster)
}

func (s *hostStore) end() error { return s.sandbox.Down() }

// trustAdmin gives the hub's admin the whole cluster, as the admin of an
// embedded one has it: tests make namespaces, accounts and roles there.
func (s *hostStore) trustAdmin(ctx context.Context, cluster *sandbox.Cluster) error {
	config, err := cluster.RESTConfig()
	if err != nil {
		return err
	}
	c, err := client.New(config, client.Options{})
	if err != nil {
		return err
	}
	return client.IgnoreAlreadyExists(c.Create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "tests"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: hostAdmin}},
	}))
}

// writeKubeconfig makes one as a cluster's administrator would give it out.
func (s *hostStore) writeKubeconfig(cluster *sandbox.Cluster) error {
	config, err := cluster.RESTConfig()
	if err != nil {
		return err
	}
	authority, err := pki.OpenAuthority(filepath.Join(filepath.Dir(cluster.KubeconfigPath()), "pki"), "ca", "")
	if err != nil {
		return err
	}
	cert, key, err := authority.Issue(pki.Leaf{CommonName: hostAdmin, Groups: []string{hostAdmins}, Lifetime: storeLife})
	if err != nil {
		return err
	}
	return clientcmd.WriteToFile(api.Config{
		Clusters:       map[string]*api.Cluster{hostName: {Server: config.Host, CertificateAuthorityData: authority.CertPEM}},
		AuthInfos:      map[string]*api.AuthInfo{hostName: {ClientCertificateData: cert, ClientKeyData: key}},
		Contexts:       map[string]*api.Context{hostName: {Cluster: hostName, AuthInfo: hostName}},
		CurrentContext: hostName,
	}, s.kubeconfig())
}
