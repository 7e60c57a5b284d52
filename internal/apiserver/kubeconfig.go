package apiserver

import (
	"fmt"
	"os"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"atoll.dev/atoll/internal/apiserver/pki"
)

// AdminUser is who the admin kubeconfig acts as; AdminGroup is the group that
// RBAC binds to cluster-admin. Not system:masters, which no rule could take
// away or even see.
const (
	AdminUser  = "atoll-admin"
	AdminGroup = "atoll:admins"
)

// ensureAdminKubeconfig writes the admin's kubeconfig unless the one there
// reaches this server with a certificate that is good for another month.
func (d dataDir) ensureAdminKubeconfig(authority *pki.Authority, address string) error {
	leaf := pki.Leaf{CommonName: AdminUser, Groups: []string{AdminGroup}, Lifetime: adminLifetime}
	server := "https://" + address
	if current, err := clientcmd.LoadFromFile(d.adminKubeconfig()); err == nil && isFresh(current, authority, leaf, server) {
		// An editor or a copy may have opened it to others.
		return os.Chmod(d.adminKubeconfig(), 0o600)
	}
	certPEM, keyPEM, err := authority.Issue(leaf)
	if err != nil {
		return fmt.Errorf("issue the admin's certificate: %w", err)
	}
	config := clientcmdapi.NewConfig()
	config.Clusters[kubeconfigName] = &clientcmdapi.Cluster{Server: server, CertificateAuthorityData: authority.CertPEM}
	config.AuthInfos[AdminUser] = &clientcmdapi.AuthInfo{ClientCertificateData: certPEM, ClientKeyData: keyPEM}
	config.Contexts[kubeconfigName] = &clientcmdapi.Context{Cluster: kubeconfigName, AuthInfo: AdminUser}
	config.CurrentContext = kubeconfigName
	data, err := clientcmd.Write(*config)
	if err != nil {
		return fmt.Errorf("encode the admin kubeconfig: %w", err)
	}
	return pki.WriteFile(d.adminKubeconfig(), data)
}

const kubeconfigName = "atoll"

func isFresh(config *clientcmdapi.Config, authority *pki.Authority, leaf pki.Leaf, server string) bool {
	cluster, user := config.Clusters[kubeconfigName], config.AuthInfos[AdminUser]
	return cluster != nil && user != nil &&
		cluster.Server == server &&
		string(cluster.CertificateAuthorityData) == string(authority.CertPEM) &&
		authority.StillGood(user.ClientCertificateData, leaf, renewBefore, time.Now())
}
