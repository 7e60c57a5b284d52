package e2e_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	fleetapi "atoll.dev/atoll/internal/fleet"
	"atoll.dev/atoll/internal/localstore"
	"atoll.dev/atoll/internal/testfleet"
)

// canaries are secret values and every form in which one could slip through.
type canaries map[string][]byte

func (c canaries) plant(name string) string {
	value := "canary" + rand.Text()
	c[name] = []byte(value)
	c[name+" in hex"] = []byte(hex.EncodeToString([]byte(value)))
	for shift := range 3 { // base64 of something that it lies in
		encoded := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", shift) + value))
		c[fmt.Sprintf("%s in base64, shifted by %d", name, shift)] = []byte(encoded[4 : len(encoded)-4])
	}
	return value
}

// in are the canaries that data holds.
func (c canaries) in(data []byte) (found []string) {
	for name, value := range c {
		if bytes.Contains(data, value) {
			found = append(found, name)
		}
	}
	return found
}

func (c canaries) check(t *testing.T, where string, data []byte) {
	t.Helper()
	if found := c.in(data); len(found) > 0 {
		t.Errorf("%s holds %v", where, found)
	}
}

// checkFiles looks into every file below dir: the store, contents, keys. What
// is no secret is found there, so the search is able to find.
func (c canaries) checkFiles(t *testing.T, dir string) {
	t.Helper()
	unpack, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer unpack.Close()
	var open [2]bool
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if err == nil && filepath.Ext(path) == ".zst" {
			data, err = unpack.DecodeAll(data, nil)
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", path, err)
		}
		for i, word := range []string{"application-in-the-store", "value-in-the-content"} {
			open[i] = open[i] || bytes.Contains(data, []byte(word))
		}
		c.check(t, path, data)
		return nil
	})
	if err != nil || open != [2]bool{true, true} {
		t.Fatalf("the search found store and content %v: %v", open, err)
	}
}

func TestASecretValueIsNowhereButInTheMembersThatNeedIt(t *testing.T) {
	f := fleet(t)
	f.Project("vault")
	a := f.Member("a")
	hidden := canaries{}
	secret := func(kind, name, key, value string) string {
		return manifest("Secret", name, map[string]any{"type": kind, "stringData": map[string]any{key: value}})
	}
	first, second, broken, byHand := hidden.plant("the first value"), hidden.plant("the second value"), hidden.plant("a refused value"), hidden.plant("a value by hand")
	// The API server refuses the other Secret; what it says must not quote it.
	wrong := secret("kubernetes.io/dockerconfigjson", "wrong", ".dockerconfigjson", broken)
	f.Deploy("vault", "application-in-the-store", configMap("open", "value-in-the-content"), "--cluster", "a")
	app := f.Deploy("vault", "keys", stream(secret("Opaque", "keys", "password", first), wrong), "--cluster", "a")
	invalid := func(s fleetapi.ClusterState) bool { _, ok := problem(s.State, "Invalid"); return ok }
	app.On("a", "has the refusal", invalid)
	holds(t, a, first)
	f.Deploy("vault", "keys", stream(secret("Opaque", "keys", "password", second), wrong))
	holds(t, a, second)
	edit := mergePatch(map[string]any{"stringData": map[string]any{"password": byHand}})
	if err := a.Client().Patch(t.Context(), &corev1.Secret{ObjectMeta: named("vault", "keys")}, edit, client.FieldOwner("by-hand")); err != nil {
		t.Fatal(err)
	}
	holds(t, a, second)
	app.On("a", "tells of the drift", func(s fleetapi.ClusterState) bool { return s.State.Corrections > 0 && len(s.State.Drift) > 0 })
	app.On("a", "has the refusal", invalid)

	hidden.checkFiles(t, f.Hub.Dir)
	for _, path := range []string{f.Hub.LogPath(), a.Agent.LogPath()} {
		data, err := os.ReadFile(path)
		if err != nil || len(data) == 0 {
			t.Fatalf("%s is empty or cannot be read: %v", path, err)
		}
		hidden.check(t, path, data)
	}
	hidden.checkFleetAPI(t, f)
	hidden.checkCommands(t, f)
	hidden.checkStore(t, a)
	// The search finds what is there.
	control := fmt.Sprintf(`{"a":%q}`, base64.StdEncoding.EncodeToString([]byte(`{"password":"`+second+`"}`)))
	if len(hidden.in([]byte(control))) == 0 || len(hidden.in([]byte(second))) == 0 {
		t.Error("the search misses a planted value")
	}
}

// holds waits until the member's own Secret has the value.
func holds(t *testing.T, m *testfleet.Member, want string) {
	t.Helper()
	eventually(t, "the member has its secret", func(ctx context.Context) error {
		s := &corev1.Secret{}
		err := m.Client().Get(ctx, client.ObjectKey{Namespace: "vault", Name: "keys"}, s)
		if err == nil && string(s.Data["password"]) != want {
			err = fmt.Errorf("another value")
		}
		return err
	})
}

func (c canaries) checkFleetAPI(t *testing.T, f *testfleet.Fleet) {
	t.Helper()
	raw, err := rest.UnversionedRESTClientFor(withCodec(f.Hub.Config()))
	if err != nil {
		t.Fatal(err)
	}
	paths := []string{"/overview", "/clusters/a/report"}
	for _, what := range []string{"clusters", "explain", "objects", "diff", "events"} {
		paths = append(paths, "/namespaces/vault/applications/keys/"+what)
	}
	for _, path := range paths {
		data, err := raw.Get().AbsPath(fleetapi.Path + path).DoRaw(t.Context())
		if err != nil || len(data) == 0 {
			t.Errorf("GET %s: %v", path, err)
		}
		c.check(t, "GET "+path, data)
	}
	for _, path := range []string{"/apis/atoll.dev/v1alpha1/namespaces/vault/applications", "/apis/atoll.dev/v1alpha1/namespaces/vault/revisions", "/apis/atoll.dev/v1alpha1/clusters", "/api/v1/namespaces/vault/secrets", "/api/v1/events"} {
		data, err := raw.Get().AbsPath(path).DoRaw(t.Context())
		if err != nil {
			t.Errorf("GET %s: %v", path, err)
		}
		if strings.HasSuffix(path, "secrets") {
			continue // where the values are, for those who may read Secrets of the hub
		}
		c.check(t, "GET "+path, data)
	}
}

func (c canaries) checkCommands(t *testing.T, f *testfleet.Fleet) {
	t.Helper()
	for _, args := range [][]string{
		{"describe", "app/keys"}, {"diff", "app/keys"}, {"diff", "app/keys", "-o", "json"}, {"explain", "app/keys"}, {"explain", "app/keys", "-o", "json"},
		{"tree", "app/keys"}, {"tree", "app/keys", "-o", "json"}, {"events", "app/keys"}, {"get", "apps", "-o", "yaml"}, {"get", "revisions", "-o", "json"},
		{"describe", "cluster/a"}, {"status"}, {"status", "-o", "json"},
	} {
		r := f.Hub.CLI(append(args, "-p", "vault")...)
		if r.Stdout+r.Stderr == "" {
			t.Errorf("atoll %v says nothing", args)
		}
		c.check(t, fmt.Sprintf("atoll %v", args), []byte(r.Stdout+r.Stderr))
	}
}

// checkStore looks into the agent's own Secrets, as they are and unpacked.
func (c canaries) checkStore(t *testing.T, m *testfleet.Member) {
	t.Helper()
	list := &corev1.SecretList{}
	if err := m.Client().List(t.Context(), list, client.InNamespace(v1alpha1.SystemNamespace)); err != nil {
		t.Fatal(err)
	}
	for _, s := range list.Items {
		for key, data := range s.Data {
			c.check(t, "Secret "+s.Name+", "+key, data)
		}
	}
	store, err := localstore.Open(kubernetes.NewForConfigOrDie(m.Config()), v1alpha1.SystemNamespace)
	if err != nil {
		t.Fatal(err)
	}
	snapshot, err := store.Load(t.Context())
	if err != nil || len(snapshot.Contents) == 0 || len(snapshot.Values) == 0 {
		t.Fatalf("the local store holds %d contents and %d values: %v", len(snapshot.Contents), len(snapshot.Values), err)
	}
	for d, data := range snapshot.Contents {
		c.check(t, "content "+d.Short(), data)
	}
	for ref, sealed := range snapshot.Values {
		c.check(t, "the value of "+ref, sealed)
	}
}
