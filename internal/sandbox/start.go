package sandbox

import (
	"context"
	"errors"
	"os"
	"sync"
	"testing"
)

// RequiredVariable, set to anything, makes a missing binary fail a test
// instead of skipping it: for machines whose green must mean something.
const RequiredVariable = "ATOLL_SANDBOX_REQUIRED"

// TestFleet is a fleet that belongs to a test.
type TestFleet struct {
	*Fleet
	t testing.TB
}

// Start brings up a cluster of each name and ends them with the test. They
// die with the process too, even by SIGKILL. The test is skipped when
// atoll-sandbox has not been built.
func Start(t testing.TB, names ...string) *TestFleet {
	t.Helper()
	var specs []ClusterSpec
	for _, name := range names {
		specs = append(specs, ClusterSpec{Name: name})
	}
	return StartSpecs(t, specs...)
}

// StartSpecs is Start for clusters that need more than a name.
func StartSpecs(t testing.TB, specs ...ClusterSpec) *TestFleet {
	t.Helper()
	requireBinary(t)
	fleet, err := boundFleet()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := fleet.Down(); err != nil {
			t.Error(err)
		}
		fleet.lifeline.write.Close()
		fleet.lifeline.read.Close()
		os.RemoveAll(fleet.dir)
	})
	fleet.tellOnFailure(t)
	if err := fleet.Up(t.Context(), specs); err != nil {
		t.Fatal(err)
	}
	return &TestFleet{Fleet: fleet, t: t}
}

func boundFleet() (*Fleet, error) {
	dir, err := os.MkdirTemp("", "atoll-sandbox-")
	if err != nil {
		return nil, err
	}
	return NewBound(dir)
}

func requireBinary(t testing.TB) {
	t.Helper()
	_, err := findBinary()
	switch {
	case err == nil:
	case errors.Is(err, ErrNoBinary) && os.Getenv(RequiredVariable) == "":
		t.Skip(err)
	default:
		t.Fatal(err)
	}
}

// Cluster is the cluster of that name; the test fails if there is none.
func (f *TestFleet) Cluster(name string) *Cluster {
	f.t.Helper()
	c, err := f.Fleet.Cluster(name)
	if err != nil {
		f.t.Fatal(err)
	}
	return c
}

// shared are the clusters that live as long as the test process.
var shared struct {
	sync.Mutex
	fleet    *Fleet
	clusters map[string]*Cluster
}

// Shared is the cluster of that name which all tests of a package use, each
// in a namespace of its own. The first caller waits until it is up; it ends
// with the process.
func Shared(t testing.TB, name string) *Cluster {
	t.Helper()
	requireBinary(t)
	shared.Lock()
	defer shared.Unlock()
	c, err := sharedCluster(name)
	if err != nil {
		t.Fatal(err)
	}
	shared.fleet.tellOnFailure(t)
	return c
}

func sharedCluster(name string) (*Cluster, error) {
	if c := shared.clusters[name]; c != nil {
		return c, nil
	}
	if shared.fleet == nil {
		fleet, err := boundFleet()
		if err != nil {
			return nil, err
		}
		shared.fleet, shared.clusters = fleet, map[string]*Cluster{}
	}
	// Not the test's context: the cluster outlives the test that came first.
	if err := shared.fleet.Up(context.Background(), []ClusterSpec{{Name: name}}); err != nil {
		return nil, err
	}
	c, err := shared.fleet.Cluster(name)
	if err == nil {
		shared.clusters[name] = c
	}
	return c, err
}
