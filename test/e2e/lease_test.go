package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/lease"
	"atoll.dev/atoll/internal/testfleet"
)

// TestOfTwoAgentsInOneMemberOneActs: a second agent waits; it takes over from
// one that is halted, only when its Lease has run out; the first then wakes
// and writes nothing; and it succeeds one that was killed at once.
func TestOfTwoAgentsInOneMemberOneActs(t *testing.T) {
	f := fleet(t)
	c := f.Member("c")
	t.Cleanup(func() { c.Leave("c") })
	f.Project("leased")
	c.JoinAs(testfleet.Agent, "--label", "stage=leased")
	app := f.Deploy("leased", "web", configMap("web", "1"), "--to", "stage=leased")
	app.Settles(1)
	first := holder(t, c)
	second := startSecond(t, c)
	logSays(t, second, 0, "waiting for this agent's turn")

	remembered(t, c)
	count := appliedByKind(t, c)["configmaps"]
	c.Agent.Freeze()
	logSays(t, second, 0, `msg="linked to the hub"`)
	if now := holder(t, c); now == first || now == "" {
		t.Fatalf("the lease went from %q to %q", first, now)
	}
	app.Settles(1)
	if now := appliedByKind(t, c)["configmaps"]; now != count {
		t.Errorf("taking over applied %d objects that were as asked for", now-count)
	}
	f.Deploy("leased", "web", configMap("web", "2"))
	app.Settles(1)
	from := sizeOf(t, c.Agent.LogPath())
	c.Agent.Thaw()
	logSays(t, c.Agent.LogPath(), from, "acts no more")
	becomes(t, c, "leased", "web", "2")
	f.Deploy("leased", "web", configMap("web", "3"))
	app.Settles(1)
	becomes(t, c, "leased", "web", "3")
	if words := logOf(t, second); strings.Contains(words, "acts no more") {
		t.Errorf("the second agent lost what it held:\n%s", words)
	}
}

// TestAHandOverIsSeenByNobody: the second agent stands by with a link of its
// own; the first is asked to end, and the second goes on where it was. Then the
// hub is away: what stands by is no longer ready, and yet succeeds one that dies.
func TestAHandOverIsSeenByNobody(t *testing.T) {
	f := fleet(t)
	c := f.Member("c")
	t.Cleanup(func() { c.Leave("c") })
	f.Project("handed")
	c.JoinAs(testfleet.Agent, "--label", "stage=handed")
	app := f.Deploy("handed", "web", configMap("web", "1"), "--to", "stage=handed")
	app.Settles(1)
	second := startSecond(t, c)
	logSays(t, second, 0, "standing by, linked to the hub")
	remembered(t, c)

	count, since := appliedByKind(t, c)["configmaps"], connectedSince(t, f, "c")
	c.Agent.Stop()
	logSays(t, second, 0, `msg="linked to the hub"`)
	becomes(t, c, "handed", "web", "1")
	app.Settles(1)
	if now := appliedByKind(t, c)["configmaps"]; now != count {
		t.Errorf("the hand-over applied %d objects that were as asked for", now-count)
	}
	if now := connectedSince(t, f, "c"); !now.Equal(since) {
		t.Errorf("the cluster was seen to connect again at %v", now)
	}

	from := sizeOf(t, c.Agent.LogPath())
	c.Agent.Start()
	logSays(t, c.Agent.LogPath(), from, "standing by, linked to the hub")
	f.Hub.Kill()
	logSays(t, c.Agent.LogPath(), from, "stands by without a link to the hub")
	killHolder(t, c)
	deleteIn(t, c, &corev1.ConfigMap{ObjectMeta: named("handed", "web")})
	becomes(t, c, "handed", "web", "1") // enforced by the other, without the hub
	f.Hub.Start()
	app.Settles(1)
}

func connectedSince(t *testing.T, f *testfleet.Fleet, name string) time.Time {
	t.Helper()
	c := &v1alpha1.Cluster{}
	// What came over a new link may be told before the link is.
	eventually(t, name+" is connected", func(ctx context.Context) error {
		err := f.Hub.Client().Get(ctx, client.ObjectKey{Name: name}, c)
		if err == nil && c.Status.Connection.State != v1alpha1.Connected {
			err = fmt.Errorf("it is %s", c.Status.Connection.State)
		}
		return err
	})
	return c.Status.Connection.Since.Time
}

// killHolder ends the process that the lease names.
func killHolder(t *testing.T, m *testfleet.Member) {
	t.Helper()
	pid, err := strconv.Atoi(strings.Split(holder(t, m), "/")[2])
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

func holder(t *testing.T, m *testfleet.Member) string {
	t.Helper()
	l := &coordinationv1.Lease{}
	if err := m.Client().Get(t.Context(), client.ObjectKey{Namespace: v1alpha1.SystemNamespace, Name: lease.Name}, l); err != nil {
		t.Fatal(err)
	}
	if l.Spec.HolderIdentity == nil {
		return ""
	}
	return *l.Spec.HolderIdentity
}

// remembered waits until what was applied stands in the agent's store.
func remembered(t *testing.T, m *testfleet.Member) {
	t.Helper()
	last, same := "", 0
	eventually(t, "the agent's store is settled", func(ctx context.Context) error {
		root := &corev1.Secret{}
		if err := m.Client().Get(ctx, client.ObjectKey{Namespace: v1alpha1.SystemNamespace, Name: "atoll-store"}, root); err != nil {
			return err
		}
		if same++; root.ResourceVersion != last {
			last, same = root.ResourceVersion, 0
		}
		// Inventories are written at most every five seconds, and it is asked for 20
		// times in one.
		if same < 140 || !bytes.Contains(root.Data["current"], []byte("inventory/")) {
			return errors.New("not yet")
		}
		return nil
	})
}

// startSecond runs one more agent of the member, with what the first has, and
// returns its log.
func startSecond(t *testing.T, m *testfleet.Member) string {
	t.Helper()
	path, err := testfleet.Program("atoll-agent")
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(t.TempDir(), "second.log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "run", "--kubeconfig", filepath.Join(filepath.Dir(m.BootstrapDir()), "kubeconfig"), "--bootstrap", m.BootstrapDir())
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
		if t.Failed() {
			t.Logf("log of the second agent:\n%s", logOf(t, log.Name()))
		}
	})
	return log.Name()
}

func logOf(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
