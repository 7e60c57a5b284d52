// Package realnode proves on a node that is real what simulated ones only tell:
// probes, logs, exec, restarts, limits and the network of pods, and that the
// agent runs in a pod as `atoll join` installs it and hubs as their chart does,
// through upgrades.
package realnode_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"atoll.dev/atoll/internal/imagebuild"
	"atoll.dev/atoll/internal/sandbox"
)

// requiredVariable, set to anything, makes it a failure that this machine can
// have no real node.
const requiredVariable = "ATOLL_REALNODE_REQUIRED"

// patience is far beyond what anything here takes on an idle machine.
const patience = 3 * time.Minute

// serverImage is the program beside this test.
const serverImage = repository + "/server:1"

// bed is one cluster with a real node, as one test sees it.
type bed struct {
	t       *testing.T
	cluster *sandbox.Cluster
	config  *rest.Config
	client  kubernetes.Interface
}

func requireRealNodes(t *testing.T) {
	t.Helper()
	err := sandbox.CheckRealNodes()
	switch {
	case err == nil:
	case os.Getenv(requiredVariable) != "":
		t.Fatal(err)
	default:
		t.Skip(err)
	}
}

// start brings up a cluster of the test's own with one real node.
func start(t *testing.T, name string) *bed {
	t.Helper()
	requireRealNodes(t)
	cluster := sandbox.StartSpecs(t, sandbox.ClusterSpec{Name: name, RealNodes: true}).Cluster(name)
	config, err := cluster.RESTConfig()
	if err != nil {
		t.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return &bed{t: t, cluster: cluster, config: config, client: client}
}

// load builds a program of this module, makes an image of it and gives it to
// the node under each reference: upgrades are tags of one repository.
func (b *bed) load(pkg, ldflags string, references ...string) {
	b.t.Helper()
	name := filepath.Base(pkg)
	program := filepath.Join(b.t.TempDir(), name)
	build := exec.CommandContext(b.t.Context(), "go", "build", "-ldflags", "-s -w "+ldflags, "-o", program, pkg)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.t.Fatalf("build %s: %v\n%s", pkg, err, out)
	}
	b.give(program, references...)
}

// give makes an image of a program that is built.
func (b *bed) give(program string, references ...string) {
	b.t.Helper()
	image, err := imagebuild.New(imagebuild.Spec{Name: filepath.Base(program), Version: "test"}, program)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, reference := range references {
		archive := filepath.Join(b.t.TempDir(), "image.tar")
		if err := image.WriteTar(archive, reference); err != nil {
			b.t.Fatal(err)
		}
		if err := b.cluster.LoadImage(b.t.Context(), archive); err != nil {
			b.t.Fatal(err)
		}
	}
}

// eventually waits until something is true; what it says meanwhile is why not.
func (b *bed) eventually(what string, check func(context.Context) error) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), patience)
	defer cancel()
	for {
		err := check(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			b.t.Fatalf("%s: %v", what, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func differs(what string, got, want any) error {
	return fmt.Errorf("%s is %v, not %v", what, got, want)
}
