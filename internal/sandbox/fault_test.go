package sandbox_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"atoll.dev/atoll/internal/sandbox"
)

// asked is how long a question may take for its answer to count; an answer
// takes milliseconds.
const asked = 2 * time.Second

// outside asks a cluster for its version by the outside address.
func outside(t *testing.T, c *sandbox.Cluster) error {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", c.KubeconfigPath())
	if err != nil {
		t.Fatal(err)
	}
	config.Timeout = asked
	_, err = kubernetes.NewForConfigOrDie(config).Discovery().ServerVersion()
	return err
}

func inside(c *sandbox.Cluster) error {
	config, err := c.RESTConfig()
	if err != nil {
		return err
	}
	config.Timeout = patience
	_, err = kubernetes.NewForConfigOrDie(config).Discovery().ServerVersion()
	return err
}

func TestAFaultIsOfOneClusterAndEnds(t *testing.T) {
	fleet := sandbox.Start(t, "a", "b")
	a, b := fleet.Cluster("a"), fleet.Cluster("b")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	inject := func(f sandbox.Fault) { t.Helper(); must(a.Inject(t.Context(), f)) }
	must(outside(t, a))

	inject(sandbox.Fault{Kind: sandbox.Partitioned, From: sandbox.FromOutside})
	inject(sandbox.Fault{Kind: sandbox.Partitioned, From: sandbox.FromOutside})
	if err := outside(t, a); err == nil {
		t.Error("a partitioned cluster answers the outside")
	}
	must(outside(t, b))
	must(inside(a))
	if got := fleet.Cluster("a").Faults(); len(got) != 1 || got[0].String() != "partitioned from outside" {
		t.Errorf("recorded is %v", got)
	}

	// What is in force outlasts every restart of what is in the cluster.
	must(a.Kill())
	must(a.Start(t.Context()))
	if err := outside(t, a); err == nil {
		t.Error("a restart has healed the partition")
	}
	must(a.Heal(t.Context()))
	must(a.Heal(t.Context()))
	must(outside(t, a))
	if got := fleet.Cluster("a").Faults(); len(got) != 0 {
		t.Errorf("after all is healed there is %v", got)
	}

	inject(sandbox.Fault{Kind: sandbox.Slowed, Latency: metav1.Duration{Duration: 200 * time.Millisecond}})
	began := time.Now()
	must(outside(t, a))
	if took := time.Since(began); took < 200*time.Millisecond {
		t.Errorf("a round trip of 200 ms took %s", took)
	}
	must(a.Heal(t.Context()))

	// By itself, with nobody waiting for it.
	for _, f := range []sandbox.Fault{
		{Kind: sandbox.Partitioned, From: sandbox.FromOutside},
		{Kind: sandbox.Partitioned, From: sandbox.FromOutside, Reset: true},
		{Kind: sandbox.Paused},
		{Kind: sandbox.Killed, Components: []string{sandbox.APIServer}},
	} {
		f.Until = sandbox.For(3 * time.Second)
		inject(f)
		eventually(t, "the end of "+f.String(), func(context.Context) error {
			if got := fleet.Cluster("a").Faults(); len(got) > 0 {
				return errors.New(got[0].String())
			}
			return outside(t, a)
		})
	}
	// What leads the cluster begins anew after its API server.
	eventually(t, "all of it runs in the end", func(context.Context) error {
		if got := fleet.Cluster("a").Status(); got != sandbox.Running {
			return errors.New(string(got))
		}
		return nil
	})
}

func TestAPausedClusterIsFrozenAndNotStarted(t *testing.T) {
	fleet := sandbox.Start(t, "a")
	a := fleet.Cluster("a")
	if err := a.Inject(t.Context(), sandbox.Fault{Kind: sandbox.Paused, Components: []string{sandbox.APIServer}}); err != nil {
		t.Fatal(err)
	}
	if err := outside(t, a); err == nil {
		t.Error("a frozen API server answers")
	}
	if err := a.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "resume a") {
		t.Errorf("starting it says %v", err)
	}
	// What is killed is no longer frozen, and can be started.
	if err := a.Kill(sandbox.APIServer); err != nil {
		t.Fatal(err)
	}
	if err := a.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := outside(t, a); err != nil {
		t.Error(err)
	}
}

func TestAFaultThatMakesNoSenseIsRefused(t *testing.T) {
	a := sandbox.Shared(t, "us-east-1")
	for want, f := range map[string]sandbox.Fault{
		`component "kube-apisrver" must be one of`: {Kind: sandbox.Killed, Components: []string{"kube-apisrver"}},
		`not from "inside"`:                        {Kind: sandbox.Partitioned, From: "inside"},
		"say how slow":                             {Kind: sandbox.Slowed},
		"must last some time":                      {Kind: sandbox.Paused, Until: time.Now().Add(-time.Second)},
		`fault "bent" must be one of`:              {Kind: "bent"},
	} {
		if err := a.Inject(t.Context(), f); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", f, err, want)
		}
	}
	if got := a.Faults(); len(got) > 0 {
		t.Errorf("what was refused is in force: %v", got)
	}
}
