package apiserver

import (
	"os"
	"slices"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"

	"atoll.dev/atoll/internal/apiserver/pki"
)

// newKeys makes a data directory with keys, as the first start does.
func newKeys(t *testing.T, hosts ...string) (dataDir, *pki.Authority) {
	t.Helper()
	dir := dataDir(t.TempDir())
	lock, err := dir.lock()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { lock.Close() }) //nolint:errcheck // The directory goes with it.
	return dir, ensureAll(t, dir, hosts)
}

func ensureAll(t *testing.T, dir dataDir, hosts []string) *pki.Authority {
	t.Helper()
	authority, err := keysDir(dir.path("pki")).ensure()
	if err == nil {
		err = dir.ensureFiles(authority, hosts, &SignIn{})
	}
	if err != nil {
		t.Fatal(err)
	}
	return authority
}

func TestOnlyTheServingCertificateFollowsTheHosts(t *testing.T) {
	dir, _ := newKeys(t, "localhost")
	kept := []string{"ca.crt", "ca.key", "service-accounts.key", "secrets.key"}
	before := map[string]string{}
	for _, name := range append(kept, "apiserver.crt") {
		before[name] = readFile(t, dir.pki(name))
	}
	ensureAll(t, dir, []string{"localhost", "hub.example.org"})
	for name, content := range before {
		if same := readFile(t, dir.pki(name)) == content; same != slices.Contains(kept, name) {
			t.Errorf("%s: the same is %v", name, same)
		}
	}
}

func TestAdminKubeconfigIsRenewedWhenItMust(t *testing.T) {
	dir, authority := newKeys(t, "localhost")
	ensure := func(address string) string {
		t.Helper()
		if err := dir.ensureAdminKubeconfig(authority, address); err != nil {
			t.Fatal(err)
		}
		return readFile(t, dir.adminKubeconfig())
	}
	first := ensure("127.0.0.1:1")
	if ensure("127.0.0.1:1") != first {
		t.Error("a fresh one was replaced")
	}
	moved := ensure("127.0.0.1:2")
	if moved == first {
		t.Error("it still names the old address")
	}
	expireIn(t, dir, authority, 29*24*time.Hour)
	short := readFile(t, dir.adminKubeconfig())
	if ensure("127.0.0.1:2") == short {
		t.Error("one with 29 days left was kept")
	}
	if err := os.Chmod(dir.adminKubeconfig(), 0o644); err != nil {
		t.Fatal(err)
	}
	ensure("127.0.0.1:2")
	if info, err := os.Stat(dir.adminKubeconfig()); err != nil || info.Mode() != 0o600 {
		t.Errorf("opened to others, and left so: %v %v", info.Mode(), err)
	}
}

// expireIn puts a certificate with a short life into the admin's kubeconfig.
func expireIn(t *testing.T, dir dataDir, authority *pki.Authority, lifetime time.Duration) {
	t.Helper()
	config, err := clientcmd.LoadFromFile(dir.adminKubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	certPEM, keyPEM, err := authority.Issue(pki.Leaf{CommonName: AdminUser, Groups: []string{AdminGroup}, Lifetime: lifetime})
	if err != nil {
		t.Fatal(err)
	}
	config.AuthInfos[AdminUser].ClientCertificateData, config.AuthInfos[AdminUser].ClientKeyData = certPEM, keyPEM
	if err := clientcmd.WriteToFile(*config, dir.adminKubeconfig()); err != nil {
		t.Fatal(err)
	}
}
