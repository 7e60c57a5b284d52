package apiserver

import (
	"context"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

func startSecond(t *testing.T, options Options) *Server {
	t.Helper()
	options.Log = io.Discard
	s, err := Start(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return s
}

// A name this long leaves no room for a Unix socket below it.
func longDir(t *testing.T) string {
	return filepath.Join(t.TempDir(), strings.Repeat("long-", 20))
}

func TestRestartKeepsObjectsKeysAndTheAdminsKubeconfig(t *testing.T) {
	options := Options{DataDir: longDir(t), Listen: freeAddress(t), CRDs: []*apiextensionsv1.CustomResourceDefinition{ringCRD()}}
	first := startSecond(t, options)
	client := clientOf(t, first)
	if _, err := client.CoreV1().ConfigMaps("default").Create(t.Context(), configMap("kept"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	definition := rawStore(t, first)["/registry/apiextensions.k8s.io/customresourcedefinitions/rings.test.atoll.dev"]
	kubeconfig := readFile(t, first.AdminKubeconfig())
	if err := first.Stop(); err != nil {
		t.Fatalf("stop: %v", err)
	}

	second := startSecond(t, options)
	if _, err := clientOf(t, second).CoreV1().ConfigMaps("default").Get(t.Context(), "kept", metav1.GetOptions{}); err != nil {
		t.Errorf("after the restart: %v", err)
	}
	// The client from before still works: same authority, same address.
	if _, err := client.CoreV1().ConfigMaps("default").Get(t.Context(), "kept", metav1.GetOptions{}); err != nil {
		t.Errorf("with the old client: %v", err)
	}
	if readFile(t, second.AdminKubeconfig()) != kubeconfig {
		t.Error("the restart issued another admin certificate")
	}
	if rawStore(t, second)["/registry/apiextensions.k8s.io/customresourcedefinitions/rings.test.atoll.dev"] != definition {
		t.Error("the restart wrote an unchanged definition again")
	}
}

func TestSecondHubOnTheSameDirectoryIsRefused(t *testing.T) {
	dir := filepath.Dir(hub.AdminKubeconfig())
	_, err := Start(t.Context(), Options{DataDir: dir, Listen: "127.0.0.1:0", Log: io.Discard})
	if err == nil || !strings.Contains(err.Error(), "data directory "+dir+" is in use by another hub (process ") {
		t.Errorf("got %v", err)
	}
	if _, err := adminClient(t).CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{}); err != nil {
		t.Errorf("the first hub suffered: %v", err)
	}
}

func TestPortInUseIsSaid(t *testing.T) {
	_, err := Start(t.Context(), Options{DataDir: t.TempDir(), Listen: hub.Address(), Log: io.Discard})
	if err == nil || !strings.Contains(err.Error(), "listen for the API on "+hub.Address()) {
		t.Errorf("got %v", err)
	}
}

func TestControllersWaitForALeaderWhenDeferred(t *testing.T) {
	s := startSecond(t, Options{DataDir: t.TempDir(), Listen: "127.0.0.1:0", DeferControllers: true})
	client := clientOf(t, s)
	view, err := client.RbacV1().ClusterRoles().Get(t.Context(), "view", metav1.GetOptions{})
	if err != nil || len(view.Rules) > 0 {
		t.Fatalf("before there is a leader: %d rules, %v", len(view.Rules), err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.RunControllers(ctx, s.LoopbackConfig()) }()
	eventually(t, "the leader's controllers work", func(ctx context.Context) (bool, error) {
		view, err := client.RbacV1().ClusterRoles().Get(ctx, "view", metav1.GetOptions{})
		return err == nil && len(view.Rules) > 0, err
	})
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestStopEndsOpenWatches(t *testing.T) {
	s := startSecond(t, Options{DataDir: t.TempDir(), Listen: "127.0.0.1:0"})
	var watches []watch.Interface
	for range 10 {
		w, err := clientOf(t, s).CoreV1().ConfigMaps("").Watch(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		watches = append(watches, w)
	}
	began := time.Now()
	if err := s.Stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	t.Logf("stopped in %v", time.Since(began))
	for _, w := range watches {
		for range w.ResultChan() { //nolint:revive // Until it is closed.
		}
	}
}

func TestEndOfTheContextStopsTheServer(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s, err := Start(ctx, Options{DataDir: t.TempDir(), Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := s.Wait(); err != nil {
		t.Errorf("a server that was told to end: %v", err)
	}
	if _, err := clientOf(t, s).Discovery().ServerVersion(); err == nil {
		t.Error("it still answers")
	}
}

func TestHubsThatShareAStoreAndKeysAreOne(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "pki"), keysOf(t, hub)); err != nil {
		t.Fatal(err)
	}
	client, namespace := adminClient(t), newNamespace(t)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "shared"}, StringData: map[string]string{"k": "v"}}
	if _, err := client.CoreV1().Secrets(namespace).Create(t.Context(), secret, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	account := serviceAccount(t, namespace, "roaming")

	other := startSecond(t, Options{
		DataDir: dir, Listen: "127.0.0.1:0", DeferControllers: true,
		Etcd: ExternalEtcd{Servers: []string{hub.etcd.endpoint}},
		CRDs: []*apiextensionsv1.CustomResourceDefinition{ringCRD()},
	})
	read, err := clientOf(t, other).CoreV1().Secrets(namespace).Get(t.Context(), "shared", metav1.GetOptions{})
	if err != nil || string(read.Data["k"]) != "v" {
		t.Errorf("the other hub reads the Secret: %v", err)
	}
	account.Host = "https://" + other.Address()
	if status, body := get(t, account, "/version"); status != http.StatusOK {
		t.Errorf("a token of the first hub at the other: %d %s", status, body)
	}
}

// keysOf are a hub's key files, without the socket beside them.
func keysOf(t *testing.T, s *Server) fs.FS {
	t.Helper()
	keys := fstest.MapFS{}
	files, err := filepath.Glob(s.dir.pki("*.*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if filepath.Ext(file) != ".sock" {
			keys[filepath.Base(file)] = &fstest.MapFile{Data: []byte(readFile(t, file)), Mode: 0o600}
		}
	}
	return keys
}

func TestRemovedAdminBindingIsBackAfterARestart(t *testing.T) {
	options := Options{DataDir: t.TempDir(), Listen: freeAddress(t)}
	first := startSecond(t, options)
	if err := clientOf(t, first).RbacV1().ClusterRoleBindings().Delete(t.Context(), AdminGroup, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the admin is locked out", func(ctx context.Context) (bool, error) {
		_, err := clientOf(t, first).CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
		return apierrors.IsForbidden(err), nil
	})
	if err := first.Stop(); err != nil {
		t.Fatal(err)
	}
	second := startSecond(t, options)
	if _, err := clientOf(t, second).CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{}); err != nil {
		t.Errorf("after the restart: %v", err)
	}
}

func clientOf(t *testing.T, s *Server) *kubernetes.Clientset {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", s.AdminKubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	return kubernetes.NewForConfigOrDie(config)
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close() //nolint:errcheck // Nobody connected.
	return listener.Addr().String()
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
