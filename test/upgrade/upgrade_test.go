// Package upgrade_test upgrades agents where they are pods of their clusters:
// each tag is a program of its own, some of which are no good.
package upgrade_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/join"
	"atoll.dev/atoll/internal/sandbox"
	"atoll.dev/atoll/internal/testfleet"
)

const repository = "registry.example.org/atoll/atoll-agent:"

// programs are what the tags are: v1 and v2 good ones, crash one that ends, and
// mute one that runs and answers no probe.
func programs(t *testing.T) string {
	t.Helper()
	good, err := testfleet.Program("atoll-agent")
	if err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	for _, tag := range []string{"v1", "v2"} {
		if err := os.Symlink(good, filepath.Join(dir, "atoll-agent-"+tag)); err != nil {
			t.Fatal(err)
		}
	}
	for tag, script := range map[string]string{"crash": "exit 3", "mute": "trap 'exit 0' TERM; while :; do sleep 0.1; done"} {
		if err := os.WriteFile(filepath.Join(dir, "atoll-agent-"+tag), []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestAgentsAreUpgradedInWavesAndABrokenOneStrandsNobody(t *testing.T) {
	t.Setenv(sandbox.AgentsVariable, programs(t))
	f := testfleet.Start(t, testfleet.Options{Clusters: []testfleet.Cluster{
		{Spec: sandbox.ClusterSpec{Name: "a"}, Mode: testfleet.Alone},
		{Spec: sandbox.ClusterSpec{Name: "b"}, Mode: testfleet.Alone},
	}})
	run(t, f, 0, "join", "--contexts", "*", "--contexts-from", contexts(t, f), "--owner", "tests", "--image", repository+"v1")
	f.Project("shop")
	app := f.Deploy("shop", "web", `{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web"}, "data": {"value": "1"}}`, "--cluster", "a")
	app.Settles(1)
	runs(t, f, "v1", "a", "b")

	plan := run(t, f, 0, "upgrade", "agents", "--version", "v2", "--wave", "1,100%", "--plan")
	if !strings.Contains(plan, "wave 1   a   "+repository+"v1 → "+repository+"v2") || !strings.Contains(plan, "wave 2   b") {
		t.Errorf("the plan is\n%s", plan)
	}
	runs(t, f, "v1", "a", "b")

	for _, broken := range []struct{ tag, why string }{{"crash", "exit code 3"}, {"nowhere", "is there: build it"}, {"mute", "the new agent"}} {
		r := f.Hub.CLI("upgrade", "agents", "--version", broken.tag, "--wave", "1,100%", "--soak", "1s")
		if r.Code != 3 || !strings.Contains(r.Stderr, "RolledBack") || !strings.Contains(r.Stderr, broken.why) || strings.Contains(r.Stderr, "wave 2 of") {
			t.Errorf("%s: %s", broken.tag, r)
		}
		runs(t, f, "v1", "a", "b")
	}

	since := connectedSince(t, f)
	run(t, f, 0, "upgrade", "agents", "--version", "v2", "--wave", "1,100%", "--soak", "1s")
	runs(t, f, "v2", "a", "b")
	if now := connectedSince(t, f); now != since {
		t.Errorf("the clusters were seen to connect again: %s, before %s", now, since)
	}
	if done := run(t, f, 0, "upgrade", "agents", "--to", repository+"v2"); !strings.Contains(done, "done     a") {
		t.Errorf("again: %s", done)
	}
	app.Settles(1)

	limits := &corev1.ConfigMap{}
	limits.Namespace, limits.Name, limits.Data = v1alpha1.SystemNamespace, join.LimitsConfigMap, map[string]string{"forbidUpgrades": "true"}
	if err := f.Member("b").Client().Update(t.Context(), limits); err != nil {
		t.Fatal(err)
	}
	testfleet.Eventually(t, "the limit is known", func(ctx context.Context) error {
		if c := cluster(t, f, "b"); !strings.Contains(fmt.Sprint(c.Status.Facts.Limits), "upgrades") {
			return fmt.Errorf("limits are %v", c.Status.Facts.Limits)
		}
		return nil
	})
	r := f.Hub.CLI("upgrade", "agents", "--version", "v1", "--wave", "100%", "--soak", "0s")
	if r.Code != 3 || !strings.Contains(r.Stderr, "the member forbids upgrades") {
		t.Errorf("a member that forbids it: %s", r)
	}
	runs(t, f, "v2", "a", "b")
}

func run(t *testing.T, f *testfleet.Fleet, code int, args ...string) string {
	t.Helper()
	r := f.Hub.CLI(args...)
	if r.Code != code {
		t.Fatalf("atoll %v: %s", args, r)
	}
	return r.Stdout
}

func cluster(t *testing.T, f *testfleet.Fleet, name string) *v1alpha1.Cluster {
	t.Helper()
	c := &v1alpha1.Cluster{}
	if err := f.Hub.Client().Get(t.Context(), client.ObjectKey{Name: name}, c); err != nil {
		t.Fatal(err)
	}
	return c
}

// runs waits until the clusters' agents of that tag act and are connected.
func runs(t *testing.T, f *testfleet.Fleet, tag string, names ...string) {
	t.Helper()
	for _, name := range names {
		testfleet.Eventually(t, name+" runs "+tag, func(context.Context) error {
			c := cluster(t, f, name)
			if c.Status.Facts == nil || c.Status.Facts.Agent == nil || c.Status.Facts.Agent.Image != repository+tag || c.Status.Connection.State != v1alpha1.Connected {
				return fmt.Errorf("it is %s with %+v", c.Status.Connection.State, c.Status.Facts)
			}
			return nil
		})
	}
}

func connectedSince(t *testing.T, f *testfleet.Fleet) string {
	t.Helper()
	return cluster(t, f, "a").Status.Connection.Since.String() + ", " + cluster(t, f, "b").Status.Connection.Since.String()
}

// contexts is a kubeconfig with the members.
func contexts(t *testing.T, f *testfleet.Fleet) string {
	t.Helper()
	out := api.NewConfig()
	for _, m := range f.Members() {
		cfg := m.Config()
		out.Clusters[m.Name] = &api.Cluster{Server: cfg.Host, CertificateAuthorityData: cfg.CAData}
		out.AuthInfos[m.Name] = &api.AuthInfo{Token: cfg.BearerToken, ClientCertificateData: cfg.CertData, ClientKeyData: cfg.KeyData}
		out.Contexts[m.Name] = &api.Context{Cluster: m.Name, AuthInfo: m.Name}
	}
	path := filepath.Join(t.TempDir(), "contexts.kubeconfig")
	if err := clientcmd.WriteToFile(*out, path); err != nil {
		t.Fatal(err)
	}
	return path
}
