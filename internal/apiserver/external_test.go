package apiserver

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"go.etcd.io/etcd/server/v3/embed"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"atoll.dev/atoll/internal/apiserver/pki"
)

// childEtcd, when set, makes this test binary an etcd on that directory.
const childEtcd = "ATOLL_TEST_ETCD_DIR"

// serveEtcd runs an etcd that asks its clients for a certificate, until
// standard input ends.
func serveEtcd(dir string) error {
	config := embed.NewConfig()
	config.Dir = filepath.Join(dir, "data")
	at := url.URL{Scheme: "https", Host: os.Getenv(childEtcd + "_AT")}
	config.ListenClientUrls, config.AdvertiseClientUrls = []url.URL{at}, []url.URL{at}
	config.ListenPeerUrls = nil
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	config.EnableGRPCGateway = false
	config.LogLevel = "error"
	config.UnsafeNoFsync = true
	config.ClientTLSInfo.CertFile, config.ClientTLSInfo.KeyFile = filepath.Join(dir, "server.crt"), filepath.Join(dir, "server.key")
	config.ClientTLSInfo.TrustedCAFile, config.ClientTLSInfo.ClientCertAuth = filepath.Join(dir, "ca.crt"), true
	server, err := embed.StartEtcd(config)
	if err != nil {
		return err
	}
	<-server.Server.ReadyNotify()
	fmt.Println("ready")
	_, err = io.Copy(io.Discard, os.Stdin)
	server.Close()
	return err
}

// external starts an etcd in a process of its own and says how it is reached.
func external(t *testing.T) ExternalEtcd {
	t.Helper()
	dir, address := t.TempDir(), freeAddress(t)
	authority, err := pki.OpenAuthority(dir, "ca", "etcd-ca")
	if err != nil {
		t.Fatal(err)
	}
	writeLeaf(t, authority, filepath.Join(dir, "server"), pki.Leaf{CommonName: "etcd", Hosts: []string{"127.0.0.1"}, Lifetime: servingLifetime})
	e := ExternalEtcd{Servers: []string{"https://" + address}, CAFile: filepath.Join(dir, "ca.crt"), Prefix: "/atoll"}
	e.CertFile, e.KeyFile = writeLeaf(t, authority, filepath.Join(dir, "hub"), pki.Leaf{CommonName: "hub", Lifetime: servingLifetime})

	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childEtcd+"="+dir, childEtcd+"_AT="+address)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Wait() // its end is no part of a test
	})
	if _, err := io.ReadFull(stdout, make([]byte, len("ready\n"))); err != nil {
		t.Fatalf("etcd did not start: %v", err)
	}
	return e
}

func writeLeaf(t *testing.T, authority *pki.Authority, file string, leaf pki.Leaf) (certFile, keyFile string) {
	t.Helper()
	certFile, keyFile = file+".crt", file+".key"
	if _, err := authority.EnsureLeaf(certFile, keyFile, leaf, 0); err != nil {
		t.Fatal(err)
	}
	return certFile, keyFile
}

func refused(t *testing.T, o Options, wants ...string) {
	t.Helper()
	s, err := Start(t.Context(), o)
	if err == nil {
		_ = s.Stop()
		t.Fatalf("started, want %q", wants)
	}
	for _, want := range wants {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestAnExternalEtcdBelongsToTheKeysThatBeganIt(t *testing.T) {
	etcd, keys := external(t), t.TempDir()
	if err := MakeKeys(keys); err != nil {
		t.Fatal(err)
	}
	options := func() Options {
		return Options{DataDir: t.TempDir(), Keys: keys, Listen: "127.0.0.1:0", Etcd: etcd, Log: io.Discard}
	}
	first := startSecond(t, options())
	if _, err := clientOf(t, first).CoreV1().Secrets("default").Create(t.Context(), secretOf("kept", "value"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := first.Stop(); err != nil {
		t.Fatal(err)
	}
	// Nothing of a hub but its keys is needed to go on.
	second := startSecond(t, options())
	read, err := clientOf(t, second).CoreV1().Secrets("default").Get(t.Context(), "kept", metav1.GetOptions{})
	if err != nil || string(read.Data["k"]) != "value" {
		t.Errorf("from another data directory: %v", err)
	}

	stranger := options()
	stranger.Keys = t.TempDir()
	refused(t, stranger, "begun by a hub with other keys (authority, encryption of Secrets, service accounts)", "--etcd-prefix")
	lost := options()
	lost.Keys = t.TempDir()
	if err := os.CopyFS(lost.Keys, os.DirFS(keys)); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(keysDir(lost.Keys).secretsKeyFile()); err != nil {
		t.Fatal(err)
	}
	refused(t, lost, "other keys (encryption of Secrets)")
	further := options()
	further.Fingerprints = Fingerprints{"references": {"a"}}
	third := startSecond(t, further)
	if err := third.Stop(); err != nil {
		t.Fatal(err)
	}
	further = options()
	further.Fingerprints = Fingerprints{"references": {"b"}}
	refused(t, further, "other keys (references)")

	stranger.Etcd.Prefix = "/other"
	other := startSecond(t, stranger)
	if _, err := clientOf(t, other).CoreV1().Secrets("default").Get(t.Context(), "kept", metav1.GetOptions{}); err == nil {
		t.Error("a hub sees what is below another prefix")
	}
}

func TestAnEtcdThatCannotBeReachedIsSaidWithItsReason(t *testing.T) {
	etcd := external(t)
	start := func(e ExternalEtcd, wants ...string) {
		t.Helper()
		refused(t, Options{DataDir: t.TempDir(), Listen: "127.0.0.1:0", Etcd: e, Log: io.Discard}, wants...)
	}
	away := etcd
	away.Servers = []string{"https://" + freeAddress(t)}
	start(away, "the store cannot be reached: "+away.Servers[0], "connection refused")

	foreign, err := pki.OpenAuthority(t.TempDir(), "ca", "another-ca")
	if err != nil {
		t.Fatal(err)
	}
	stranger := etcd
	stranger.CertFile, stranger.KeyFile = writeLeaf(t, foreign, filepath.Join(t.TempDir(), "hub"), pki.Leaf{CommonName: "hub", Lifetime: servingLifetime})
	start(stranger, "the store cannot be reached", "tls: ")

	misled := etcd
	misled.CAFile = stranger.CertFile
	start(misled, "the store cannot be reached", "certificate signed by unknown authority")

	missing := etcd
	missing.KeyFile = filepath.Join(t.TempDir(), "none.key")
	start(missing, "--etcd-keyfile", "none.key")
}

func TestTwoHubsThatBeginAStoreAtOnceAreNotBothBelieved(t *testing.T) {
	e := external(t)
	at := store{e.Servers, e.CAFile, e.CertFile, e.KeyFile, "/race"}
	ended := make(chan error)
	for _, print := range []string{"a", "b"} {
		go func() { ended <- at.claim(context.Background(), Fingerprints{"authority": {print}}) }()
	}
	if one, other := <-ended, <-ended; (one == nil) == (other == nil) {
		t.Errorf("the two got %v and %v", one, other)
	}
}

func secretOf(name, value string) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, StringData: map[string]string{"k": value}}
}
