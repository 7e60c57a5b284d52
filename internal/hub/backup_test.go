package hub

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/backup"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/fleet"
	"atoll.dev/atoll/internal/link"
	"atoll.dev/atoll/internal/wire"
)

// restored runs a hub on a data directory until the test ends.
func restored(t *testing.T, dir, keys string) *bench {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	ready, ended := make(chan Ready, 1), make(chan error, 1)
	go func() {
		ended <- Run(ctx, Options{
			DataDir: dir, Keys: keys, Listen: "127.0.0.1:0", AgentListen: "127.0.0.1:0",
			Heartbeat: 200 * time.Millisecond, Log: slog.New(slog.DiscardHandler),
		}, func(r Ready) { ready <- r })
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the restored hub ended with %v", err)
		}
	})
	select {
	case r := <-ready:
		w, err := open(r)
		if err != nil {
			t.Fatal(err)
		}
		return &bench{T: t, world: w}
	case err := <-ended:
		ended <- nil
		t.Fatalf("the restored hub does not start: %v", err)
		return nil
	}
}

// welcomed dials another hub with the member's identity and tells its answer.
func (m *member) welcomed(at *bench) error {
	s, err := link.Dial(m.Context(), link.DialConfig{
		Address: at.ready.Agents, Roots: m.trust.Roots, GetClientCertificate: m.trust.GetClientCertificate,
	})
	if err != nil {
		return err
	}
	defer s.Close(nil)
	err = s.Send(m.Context(), wire.Message{Stamp: wire.Stamp{Incarnation: "none"}, Hello: &wire.Hello{
		Cluster: m.name, ClusterUID: m.uid, MinVersion: wire.MinVersion, MaxVersion: wire.Version, Desired: m.root.Digest(),
	}})
	if err != nil {
		return err
	}
	got, err := s.Recv(m.Context())
	if err == nil && got.Welcome == nil {
		err = fmt.Errorf("not welcome: %+v", got.Refusal)
	}
	return err
}

func TestARestoredHubIsAnotherHistoryAndServesNobodyBeforeAPersonConfirmsIt(t *testing.T) {
	b := hubOf(t)
	b.project("kept")
	m := b.joined("kept-1", nil)
	receipt, err := b.fleet.Upload(t.Context(), "kept", fleet.Upload{Files: []fleet.File{{Name: "x.yaml", Data: fmt.Appendf(nil, manifest, "uploaded")}}})
	b.must(err)
	app := &v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{Namespace: "kept", Name: "shop"}}
	app.Spec.Source.Content = &v1alpha1.ContentSource{Digest: receipt.Digest}
	b.create(app)
	const canary = "canary-in-a-secret-of-the-hub"
	b.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "kept", Name: "hidden"}, StringData: map[string]string{"password": canary}})

	data := filepath.Dir(b.ready.AdminKubeconfig)
	made := Backup{File: filepath.Join(t.TempDir(), "hub.atoll"), DataDir: data, Passphrase: []byte("a long passphrase")}
	of, err := made.Make(t.Context())
	b.must(err)
	if of.Clusters == 0 || of.Contents == 0 || len(of.Missing) > 0 {
		t.Fatalf("the backup is of %+v", of)
	}
	secretless(t, made, canary)

	again := Backup{File: made.File, DataDir: filepath.Join(t.TempDir(), "new"), Passphrase: made.Passphrase}
	_, err = again.Restore(t.Context())
	b.must(err)
	now := restored(t, again.DataDir, "")
	then, err := b.fleet.Overview(t.Context())
	b.must(err)
	overview, err := now.fleet.Overview(t.Context())
	b.must(err)
	if overview.Hub.Incarnation == then.Hub.Incarnation || overview.Hub.Term != 1 {
		t.Errorf("the restored hub is %+v, as was %+v", overview.Hub, then.Hub)
	}
	if c := now.cluster("kept-1"); !c.Spec.Accepted || c.Confirmed() || c.Status.Identity == nil {
		t.Errorf("the cluster was restored as %+v, %+v", c.Annotations, c.Spec)
	}
	secret := &corev1.Secret{}
	b.must(now.client.Get(t.Context(), client.ObjectKey{Namespace: "kept", Name: "hidden"}, secret))
	if string(secret.Data["password"]) != canary {
		t.Error("the Secret cannot be read with the restored keys")
	}
	content, err := readContent(t.Context(), filepath.Join(again.DataDir, "content"), held{"kept", desired.Digest(receipt.Digest)})
	if err != nil || !bytes.Contains(content, []byte("uploaded")) {
		t.Errorf("the content is not what was uploaded: %s: %v", content, err)
	}

	if err := m.welcomed(now); err == nil {
		t.Fatal("an agent is served that nobody confirmed")
	}
	now.eventually("it is told that the cluster waits", func() error {
		o, err := now.fleet.Overview(t.Context())
		if err == nil && !strings.Contains(fmt.Sprint(o.Decisions), "Unconfirmed") {
			err = fmt.Errorf("%+v", o.Decisions)
		}
		return err
	})
	confirm := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"annotations":{"`+v1alpha1.AnnotationUnconfirmed+`":null}}}`))
	b.must(now.client.Patch(t.Context(), now.cluster("kept-1"), confirm))
	now.eventually("a confirmed agent is served", func() error { return m.welcomed(now) })
}

// secretless looks into every part of a backup.
func secretless(t *testing.T, b Backup, canary string) {
	t.Helper()
	found := false
	key, err := os.ReadFile(filepath.Join(b.DataDir, "pki", "references.key"))
	if err != nil {
		t.Fatal(err)
	}
	look := func(where string, data []byte) {
		found = found || bytes.Contains(data, []byte("kept-1"))
		if bytes.Contains(data, []byte(canary)) || bytes.Contains(data, key) || bytes.Contains(data, []byte("PRIVATE KEY")) {
			t.Errorf("%s of the backup gives a secret away", where)
		}
	}
	_, err = b.read(func(name string, data []byte) error {
		look(name, data)
		if !strings.HasPrefix(name, backup.StorePart) {
			return nil
		}
		return backup.EachRecord(data, func(key string, value []byte) error { look(key, value); return nil })
	})
	if err != nil || !found {
		t.Fatalf("the search found what is no secret: %v: %v", found, err)
	}
	info, err := os.Stat(b.File)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file's mode is %v: %v", info.Mode(), err)
	}
}

func TestABackupIsRestoredWholeAndWithItsKeysOrNotAtAll(t *testing.T) {
	b := hubOf(t)
	dir := t.TempDir()
	data := filepath.Dir(b.ready.AdminKubeconfig)
	made := Backup{File: filepath.Join(dir, "hub.atoll"), DataDir: data}
	_, err := made.Make(t.Context())
	b.must(err)
	if _, err := made.Make(t.Context()); err == nil || !strings.Contains(err.Error(), "--force") {
		t.Errorf("a file is replaced: %v", err)
	}
	made.Force = true
	_, err = made.Make(t.Context())
	b.must(err)
	if left, err := filepath.Glob(filepath.Join(dir, ".atoll-backup-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v: %v", left, err)
	}
	whole, err := os.ReadFile(made.File)
	b.must(err)
	file := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		b.must(os.WriteFile(path, data, 0o600))
		return path
	}
	strange := filepath.Join(dir, "strange-keys")
	_, err = openKeys(strange)
	b.must(err)
	full := filepath.Join(dir, "full")
	b.must(os.MkdirAll(filepath.Join(full, "something"), 0o700))
	changed := bytes.Replace(whole, []byte(`"incarnation":"`), []byte(`"Incarnation":"`), 1)
	keys, target := filepath.Join(data, "pki"), filepath.Join(dir, "target")
	for name, c := range map[string]struct {
		Backup
		want string
	}{
		"into a directory that is not empty": {Backup{File: made.File, DataDir: full, Keys: keys}, "not empty"},
		"without keys":                       {Backup{File: made.File, DataDir: target}, "give --keys"},
		"with keys that are not there":       {Backup{File: made.File, DataDir: target, Keys: filepath.Join(dir, "nowhere")}, "keys are not in"},
		"with another hub's keys":            {Backup{File: made.File, DataDir: target, Keys: strange}, "are not those of the hub"},
		"one that was cut":                   {Backup{File: file("cut", whole[:len(whole)/2]), DataDir: target, Keys: keys}, backup.ErrTruncated.Error()},
		"one with a changed manifest":        {Backup{File: file("changed", changed), DataDir: target, Keys: keys}, "not made by the hub"},
		"something else":                     {Backup{File: file("else", []byte("kind: Cluster\n")), DataDir: target, Keys: keys}, backup.ErrForeign.Error()},
	} {
		if _, err := c.Restore(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("restore %s: %v", name, err)
		}
		if _, err := os.Stat(target); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("restore %s: something was written: %v", name, err)
		}
	}
	if _, err := (Backup{File: filepath.Join(dir, "x"), DataDir: dir, Keys: keys}).Make(t.Context()); err == nil || !strings.Contains(err.Error(), "external etcd") {
		t.Errorf("back up where there is no store: %v", err)
	}
}
