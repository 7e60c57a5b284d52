package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/join"
	"atoll.dev/atoll/internal/testfleet"
	"atoll.dev/atoll/internal/trust"
)

func TestAJoinTokenServesOnceForItsClusterForAnHour(t *testing.T) {
	f := fleet(t)
	c := f.Member("c")
	t.Cleanup(func() { c.Leave("c", "c-other") })
	refused := func(words string) {
		t.Helper()
		from := sizeOf(t, c.Agent.LogPath())
		c.Agent.Start()
		logSays(t, c.Agent.LogPath(), from, words)
		c.Agent.Kill()
		c.Forget()
	}
	c.Install("c")
	expire(t, f, "c")
	refused("this token expired at")
	if cluster(t, f, "c").Status.Identity != nil {
		t.Error("an agent with an expired token was enrolled")
	}

	ticket, err := join.ParseTicket([]byte(f.Hub.MustCLI("join", "c-other", "--owner", "tests", "-o", "bootstrap")))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(c.BootstrapDir(), join.KeyToken), []byte(ticket.Token), 0o600); err != nil {
		t.Fatal(err)
	}
	refused("this token was made for cluster c-other, not for c")

	c.Install("c") // a new token
	c.Agent.Start()
	first := enrolled(t, f, "c")
	c.Agent.Kill()
	c.Forget()
	refused("this token was used at")
	if now := cluster(t, f, "c").Status.Identity; now == nil || now.KeyFingerprint != first.KeyFingerprint {
		t.Errorf("the enrolled key went from %v to %v", first, now)
	}
	if r := f.Hub.CLI("join", "c", "--owner", "tests", "-o", "yaml"); r.Code != 2 || !has(r.Stderr, "has joined already", "atoll remove c") {
		t.Errorf("a token for a cluster that has joined: %s", r)
	}
}

func TestAnAgentGetsNothingBeforeItIsAccepted(t *testing.T) {
	f := fleet(t)
	c := f.Member("c")
	t.Cleanup(func() { c.Leave("c") })
	f.Project("unaccepted")
	c.Install("c")
	app := f.Deploy("unaccepted", "web", configMap("web", "1"), "--where", `cluster.name == "c"`)
	from := sizeOf(t, c.Agent.LogPath())
	c.Agent.Start()
	enrolled(t, f, "c")
	logSays(t, c.Agent.LogPath(), from, "atoll accept c")
	if out := f.Hub.CLI("status").Stdout; !has(out, "DECISIONS", "atoll accept c") {
		t.Errorf("status does not ask for the decision:\n%s", out)
	}
	if exists(t, c, &corev1.ConfigMap{}, "unaccepted", "web") {
		t.Fatal("an agent that nobody accepted was given work")
	}
	f.Hub.MustCLI("accept", "c")
	app.Settles(1)
	becomes(t, c, "unaccepted", "web", "1")
}

func TestOneKubernetesClusterCannotJoinUnderTwoNames(t *testing.T) {
	f := fleet(t)
	c := f.Member("c")
	t.Cleanup(func() { c.Leave("c", "c-again") })
	c.JoinAs(testfleet.Agent)
	c.Agent.Kill()
	c.Forget()
	c.Install("c-again")
	from := sizeOf(t, c.Agent.LogPath())
	c.Agent.Start()
	logSays(t, c.Agent.LogPath(), from, "has joined as c already")
	if cluster(t, f, "c-again").Status.Identity != nil {
		t.Error("it was enrolled all the same")
	}
}

func TestRemovingAClusterRevokesItsAgentAndTouchesNoWorkload(t *testing.T) {
	f := fleet(t)
	c := f.Member("c")
	t.Cleanup(func() { c.Leave("c") })
	f.Project("removed")
	c.JoinAs(testfleet.Agent, "--label", "stage=leaving")
	app := f.Deploy("removed", "web", stream(configMap("web", "1"), deployment("web", "web:1", 2)), "--to", "stage=leaving", "--on-delete", "Delete")
	app.Settles(1)
	before := pods(t, c, "removed")
	from := sizeOf(t, c.Agent.LogPath())
	if r := f.Hub.CLI("remove", "c", "--confirm", "c"); r.Code != 0 || !has(r.Stderr, "stay on c", "removed/web") {
		t.Errorf("remove: %s", r)
	}
	logSays(t, c.Agent.LogPath(), from, "refuses this agent")
	app.Eventually("on no cluster", func(a *v1alpha1.Application) bool { return a.Status.Counts.Placed == 0 })
	// The same key is refused for good, also when the agent starts again.
	c.Agent.Kill()
	from = sizeOf(t, c.Agent.LogPath())
	c.Agent.Start()
	logSays(t, c.Agent.LogPath(), from, "not enrolled")
	err := f.Hub.Client().Get(t.Context(), client.ObjectKey{Name: "c"}, &v1alpha1.Cluster{})
	if !apierrors.IsNotFound(err) {
		t.Errorf("the cluster is still registered: %v", err)
	}
	becomes(t, c, "removed", "web", "1")
	if now := pods(t, c, "removed"); fmt.Sprint(now) != fmt.Sprint(before) || len(now) != 2 {
		t.Errorf("the pods went from %v to %v", before, now)
	}
}

func TestAClusterWithoutAnAgentOfItsOwnWorksLikeAnyOther(t *testing.T) {
	f := fleet(t)
	c := f.Member("c")
	t.Cleanup(func() { c.Leave("c") })
	f.Project("direct")
	c.JoinAs(testfleet.Direct, "--label", "stage=direct")
	if c.Agent.Running() {
		t.Fatal("an agent process runs; this proves nothing of direct mode")
	}
	app := f.Deploy("direct", "web", stream(configMap("web", "1"), deployment("web", "web:1", 1)), "--to", "stage=direct")
	app.Settles(1)
	deleteIn(t, c, &corev1.ConfigMap{ObjectMeta: named("direct", "web")})
	becomes(t, c, "direct", "web", "1")
	f.Hub.Restart()
	f.Deploy("direct", "web", stream(configMap("web", "2"), deployment("web", "web:1", 1)))
	app.Settles(1)
	becomes(t, c, "direct", "web", "2")
	before := pods(t, c, "direct")
	f.Hub.MustCLI("remove", "c", "--confirm", "c")
	app.Eventually("on no cluster", func(a *v1alpha1.Application) bool { return a.Status.Counts.Placed == 0 })
	if now := pods(t, c, "direct"); fmt.Sprint(now) != fmt.Sprint(before) || len(now) != 1 {
		t.Errorf("the pods went from %v to %v", before, now)
	}
}

func TestAClusterNeedsAnOwnerAndAGoodName(t *testing.T) {
	f := fleet(t)
	for _, tt := range []struct {
		args []string
		says string
	}{
		{[]string{"join", "nobody"}, "--owner"},
		{[]string{"join", "Bad_Name", "--owner", "tests"}, "lower-case"},
		{[]string{"join", "a", "--owner", "tests", "-o", "yaml"}, "has joined already"},
	} {
		if r := f.Hub.CLI(tt.args...); r.Code != 2 || !has(r.Stderr, tt.says) || r.Stdout != "" {
			t.Errorf("%v: %s", tt.args, r)
		}
	}
}

func cluster(t *testing.T, f *testfleet.Fleet, name string) *v1alpha1.Cluster {
	t.Helper()
	c := &v1alpha1.Cluster{}
	if err := f.Hub.Client().Get(t.Context(), client.ObjectKey{Name: name}, c); err != nil {
		t.Fatal(err)
	}
	return c
}

// enrolled waits until an agent has shown its key to the hub.
func enrolled(t *testing.T, f *testfleet.Fleet, name string) v1alpha1.AgentIdentity {
	t.Helper()
	c := &v1alpha1.Cluster{}
	eventually(t, "an agent of "+name+" enrols", func(ctx context.Context) error {
		err := f.Hub.Client().Get(ctx, client.ObjectKey{Name: name}, c)
		if err == nil && c.Status.Identity == nil {
			err = errors.New("not yet")
		}
		return err
	})
	return *c.Status.Identity
}

// expire puts the end of a token's hour into the past.
func expire(t *testing.T, f *testfleet.Fleet, name string) {
	t.Helper()
	secret := &corev1.Secret{}
	if err := f.Hub.Client().Get(t.Context(), client.ObjectKey{Namespace: f.Hub.Namespace(), Name: "join." + name}, secret); err != nil {
		t.Fatal(err)
	}
	record := trust.TokenRecord{}
	if err := json.Unmarshal(secret.Data["record"], &record); err != nil {
		t.Fatal(err)
	}
	record.Expires = time.Now().Add(-time.Minute)
	data, err := json.Marshal(record)
	if err != nil {
		t.Fatal(err)
	}
	secret.Data["record"] = data
	if err := f.Hub.Client().Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
}

// pods are the UIDs of the pods in a namespace, by name.
func pods(t *testing.T, m *testfleet.Member, namespace string) map[string]string {
	t.Helper()
	list := &corev1.PodList{}
	if err := m.Client().List(t.Context(), list, client.InNamespace(namespace)); err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, p := range list.Items {
		out[p.Name] = string(p.UID)
	}
	return out
}
