package sandbox

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// certificateLife is long for a sandbox and short for a secret.
const certificateLife = 365 * 24 * time.Hour

// authority is a CA whose key stays in the cluster's pki folder.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	dir  string
}

// MetricsService is the Service behind metrics.k8s.io, in kube-system.
const MetricsService = "metrics-server"

// identity is a certificate to issue: for a client a user and groups, for a
// server the names and addresses it answers to.
type identity struct {
	file   string
	user   string
	groups []string
	hosts  []string
}

// writePKI creates a cluster's authorities and certificates. There are three
// authorities, so that a right to the cluster's API is never a right to its
// etcd, nor to act as its front proxy.
func writePKI(dir string, s State) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	issues := map[string][]identity{
		"ca": {
			{file: "apiserver", user: "kube-apiserver", hosts: []string{
				"127.0.0.1", "localhost", serviceIP(s), "kubernetes", "kubernetes.default",
				"kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
			}},
			{file: "apiserver-kubelet-client", user: "kube-apiserver-kubelet-client", groups: []string{"system:masters"}},
			{file: "admin", user: "atoll-sandbox-admin", groups: []string{"system:masters"}},
			{file: "kwok", user: "atoll-sandbox-kwok", groups: []string{"system:masters"}},
			{file: "kube-controller-manager", user: "system:kube-controller-manager"},
			{file: "kube-scheduler", user: "system:kube-scheduler"},
			{file: "kubelet", user: "system:node", hosts: nodeIPs(s)},
			{file: "node", user: "system:node:" + NodeName(s.Spec, 0), groups: []string{"system:nodes"}},
			{file: "kube-proxy", user: "system:kube-proxy"},
			{file: "metrics", user: MetricsService, hosts: []string{MetricsService + ".kube-system.svc"}},
		},
		"etcd-ca": {
			{file: "etcd", user: "etcd", hosts: []string{"127.0.0.1", "localhost"}},
			{file: "apiserver-etcd-client", user: "kube-apiserver"},
		},
		"front-proxy-ca": {{file: "front-proxy-client", user: "front-proxy-client"}},
	}
	for name, identities := range issues {
		ca, err := newAuthority(dir, name, s.Spec.Name)
		if err != nil {
			return fmt.Errorf("create %s: %w", name, err)
		}
		for _, id := range identities {
			if err := ca.issue(id); err != nil {
				return fmt.Errorf("issue certificate %s: %w", id.file, err)
			}
		}
	}
	return writeServiceAccountKey(dir)
}

func serviceIP(s State) string { return fmt.Sprintf("10.%d.0.1", 128+s.Index) }

func nodeIPs(s State) []string {
	if s.Spec.RealNodes {
		return []string{s.realNodeIP()}
	}
	ips := make([]string, s.Spec.Nodes)
	for n := range ips {
		ips[n] = s.NodeIP(n)
	}
	return ips
}

func newAuthority(dir, name, cluster string) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := certificateTemplate(pkix.Name{CommonName: name + "." + cluster, Organization: []string{"atoll-sandbox"}})
	template.IsCA = true
	template.BasicConstraintsValid = true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &authority{cert: cert, key: key, dir: dir}, writePair(dir, name, der, key)
}

func (a *authority) issue(id identity) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := certificateTemplate(pkix.Name{CommonName: id.user, Organization: id.groups})
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	for _, host := range id.hosts {
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return err
	}
	return writePair(a.dir, id.file, der, key)
}

func certificateTemplate(subject pkix.Name) *x509.Certificate {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		panic(err) // crypto/rand never fails on Linux
	}
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      subject,
		NotBefore:    now.Add(-time.Minute),
		NotAfter:     now.Add(certificateLife),
	}
}

func writePair(dir, name string, der []byte, key *ecdsa.PrivateKey) error {
	if err := writePEM(filepath.Join(dir, name+".crt"), "CERTIFICATE", der); err != nil {
		return err
	}
	return writeKey(filepath.Join(dir, name+".key"), key)
}

func writeServiceAccountKey(dir string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return err
	}
	if err := writePEM(filepath.Join(dir, "sa.pub"), "PUBLIC KEY", public); err != nil {
		return err
	}
	return writeKey(filepath.Join(dir, "sa.key"), key)
}

func writeKey(path string, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	return writePEM(path, "EC PRIVATE KEY", der)
}

func writePEM(path, kind string, der []byte) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}
