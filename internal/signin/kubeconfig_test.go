package signin

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"k8s.io/client-go/tools/clientcmd"

	"atoll.dev/atoll/internal/apiserver/pki"
)

func encodeSegment(payload string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(payload))
}

func serving(t *testing.T, cert, key string) *tls.Config {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}}
}

func clientOf(a *pki.Authority) *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(a.Certificate)
	return &tls.Config{RootCAs: pool}
}

const others = `apiVersion: v1
kind: Config
current-context: work
clusters: [{name: work, cluster: {server: "https://work.example.com"}}]
contexts: [{name: work, context: {cluster: work, user: me, namespace: web}}]
users: [{name: me, user: {token: secret}}]
`

func entry(name string) Entry {
	return Entry{Name: name, Server: "https://" + name, CAData: []byte("ca"), SessionID: NewID(), Program: "atoll"}
}

func TestAKubeconfigKeepsWhatIsOfOthers(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "real"), filepath.Join(dir, "link")
	if err := os.WriteFile(file, []byte(others), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	e := entry("hub:7443")
	if err := Put(t.Context(), link, e); err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.LoadFromFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if config.CurrentContext != e.Name || SessionOf(config, e.Name) != e.SessionID || SessionOf(config, "work") != "" {
		t.Errorf("the context is %s of session %s", config.CurrentContext, SessionOf(config, e.Name))
	}
	if config.AuthInfos["me"].Token != "secret" || config.Contexts["work"].Namespace != "web" || config.Clusters["work"] == nil {
		t.Error("what was there is gone")
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file: %v, %v", info, err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is none any more: %v, %v", info, err)
	}
	if err := Put(t.Context(), file, entry("work")); err == nil || !strings.Contains(err.Error(), "--name") {
		t.Errorf("another's context is overwritten: %v", err)
	}
	if err := Drop(t.Context(), file, e.Name); err != nil {
		t.Fatal(err)
	}
	config, err = clientcmd.LoadFromFile(file)
	if err != nil || len(config.Contexts) != 1 || len(config.Clusters) != 1 || len(config.AuthInfos) != 1 || config.CurrentContext != "" {
		t.Errorf("after it is dropped: %+v, %v", config, err)
	}
}

func TestWhatIsNoKubeconfigIsLeftAsItIs(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(file, []byte(": : :"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Put(t.Context(), file, entry("hub")); err == nil {
		t.Error("it is overwritten")
	}
	if data, err := os.ReadFile(file); err != nil || string(data) != ": : :" {
		t.Errorf("%s, %v", data, err)
	}
}

func TestProgramsThatWriteAKubeconfigAtOnceLoseNothing(t *testing.T) {
	file := filepath.Join(t.TempDir(), "new", "config")
	names := []string{"a", "b", "c", "d", "e", "f"}
	var group sync.WaitGroup
	for _, name := range names {
		group.Go(func() {
			if err := Put(t.Context(), file, entry(name)); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	config, err := clientcmd.LoadFromFile(file)
	if err != nil || len(ContextsOf(config)) != len(names) {
		t.Errorf("%v, %v", ContextsOf(config), err)
	}
}
