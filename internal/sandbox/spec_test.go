package sandbox

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestNameOfARegionImpliesProviderAndZones(t *testing.T) {
	for name, want := range map[string]place{
		"us-east-1":     {EKS, "us-east-1", []string{"us-east-1a", "us-east-1b", "us-east-1c"}},
		"us-west-2":     {EKS, "us-west-2", []string{"us-west-2a", "us-west-2b", "us-west-2c"}},
		"europe-west1":  {GKE, "europe-west1", []string{"europe-west1-b", "europe-west1-c", "europe-west1-d"}},
		"southeastasia": {AKS, "southeastasia", []string{"southeastasia-1", "southeastasia-2", "southeastasia-3"}},
		"staging":       {Local, "local", []string{"local-a"}},
	} {
		spec := ClusterSpec{Name: name}.complete()
		got := place{spec.Provider, spec.Region, spec.Zones}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(place{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestGivenRegionWinsOverTheName(t *testing.T) {
	spec := ClusterSpec{Name: "us-east-1", Region: "europe-west4"}.complete()
	if spec.Provider != GKE || spec.Region != "europe-west4" || spec.Zones[0] != "europe-west4-b" {
		t.Errorf("got %+v", spec)
	}
}

func TestValidateNamesTheField(t *testing.T) {
	for _, tc := range []struct {
		spec ClusterSpec
		want string
	}{
		{ClusterSpec{Name: ""}, "name"},
		{ClusterSpec{Name: "Upper"}, "name"},
		{ClusterSpec{Name: "../up"}, "name"},
		{ClusterSpec{Name: strings.Repeat("a", 41)}, "name"},
		{ClusterSpec{Name: "a", Nodes: -1}, "nodes"},
		{ClusterSpec{Name: "a", Nodes: MaxNodes + 1}, "nodes"},
		{ClusterSpec{Name: "a", CPU: -1}, "cpu"},
		{ClusterSpec{Name: "a", Memory: "lots"}, "memory"},
		{ClusterSpec{Name: "a", Provider: "oke"}, "provider"},
	} {
		if err := tc.spec.Validate(); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%+v: %v, want an error about %s", tc.spec, err, tc.want)
		}
	}
}

func TestCompletedSpecsAreValidAndDoNotConflictWithThemselves(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		wish := ClusterSpec{
			Name:     rapid.StringMatching(`[a-z]([a-z0-9-]{0,8}[a-z0-9])?`).Draw(t, "name"),
			Nodes:    rapid.IntRange(0, MaxNodes).Draw(t, "nodes"),
			Provider: rapid.SampledFrom([]Provider{"", EKS, GKE, AKS, Local}).Draw(t, "provider"),
			Region:   rapid.SampledFrom([]string{"", "eu-north-1", "asia-east1", "westeurope", "cellar"}).Draw(t, "region"),
			CPU:      rapid.IntRange(0, 64).Draw(t, "cpu"),
		}
		have := wish.complete()
		if err := have.Validate(); err != nil {
			t.Fatal(err)
		}
		if len(have.Zones) == 0 || have.Nodes == 0 {
			t.Fatalf("incomplete: %+v", have)
		}
		if err := wish.conflict(have); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(have, have.complete()); diff != "" {
			t.Fatalf("completing twice differs:\n%s", diff)
		}
	})
}

func TestNoTwoNodesOfAFleetShareAnAddress(t *testing.T) {
	seen := map[string]bool{}
	for index := range maxClusters {
		seen[State{Index: index}.MetricsIP()] = true
		for n := range MaxNodes {
			ip := State{Index: index}.NodeIP(n)
			if seen[ip] {
				t.Fatalf("node %d of cluster %d has address %s of another", n, index, ip)
			}
			seen[ip] = true
		}
	}
}

func TestPortsOfAFleetAreDistinct(t *testing.T) {
	var states []State
	for range 20 {
		ports, err := choosePorts(portsTaken(states))
		if err != nil {
			t.Fatal(err)
		}
		before := len(portsTaken(states))
		states = append(states, State{Ports: ports})
		if got := len(portsTaken(states)); got != before+6 {
			t.Fatalf("%+v repeats a port", ports)
		}
	}
}
