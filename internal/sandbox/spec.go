package sandbox

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
)

// DefaultNodes is how many nodes a cluster has when nobody says.
const DefaultNodes = 2

// MaxNodes is the most nodes one cluster can have: each has its own address
// in the cluster's 127.x.0.0/16.
const MaxNodes = 5000

// ClusterSpec is what a cluster should look like. A zero field means the
// default for that name, or what an existing cluster already has.
type ClusterSpec struct {
	// Name is a DNS label of at most 40 characters. A name that is a known
	// cloud region, such as us-east-1, implies Provider, Region and Zones.
	Name string `json:"name"`
	// Nodes is the number of nodes, 1 to MaxNodes.
	Nodes int `json:"nodes,omitempty"`
	// Provider is eks, gke, aks or local: it chooses labels and provider IDs.
	Provider Provider `json:"provider,omitempty"`
	// Region and Zones become topology labels; nodes take the zones in turn.
	Region string   `json:"region,omitempty"`
	Zones  []string `json:"zones,omitempty"`
	// NodeLabels are added to every node, and win over the provider's.
	NodeLabels map[string]string `json:"labels,omitempty"`
	// CPU (cores), Memory (quantity) and Pods are each node's capacity;
	// by default 8, 32Gi and 110.
	CPU    int    `json:"cpu,omitempty"`
	Memory string `json:"memory,omitempty"`
	Pods   int    `json:"pods,omitempty"`
	// RealNodes is for one node that runs containers, with the machine's
	// capacity, in place of simulated ones. It needs root.
	RealNodes bool `json:"realNodes,omitempty"`
}

var (
	clusterName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$`)
	quantity    = regexp.MustCompile(`^[1-9][0-9]*(Ki|Mi|Gi|Ti)$`)
)

// Validate says which field is wrong, and how.
func (s ClusterSpec) Validate() error {
	switch {
	case !clusterName.MatchString(s.Name):
		return fmt.Errorf("cluster name %q must be a DNS label of at most 40 characters", s.Name)
	case s.Nodes < 0 || s.Nodes > MaxNodes:
		return fmt.Errorf("cluster %s: nodes must lie between 1 and %d, not %d", s.Name, MaxNodes, s.Nodes)
	case s.CPU < 0 || s.Pods < 0:
		return fmt.Errorf("cluster %s: cpu and pods must be positive", s.Name)
	case s.Memory != "" && !quantity.MatchString(s.Memory):
		return fmt.Errorf("cluster %s: memory %q must be a quantity such as 32Gi", s.Name, s.Memory)
	case s.RealNodes && s.Nodes > 1:
		return fmt.Errorf("cluster %s: a cluster has one real node, not %d", s.Name, s.Nodes)
	}
	if _, known := providers[s.Provider]; !known && s.Provider != "" {
		return fmt.Errorf("cluster %s: provider %q must be one of eks, gke, aks, local", s.Name, s.Provider)
	}
	return nil
}

// complete fills what the user left open.
func (s ClusterSpec) complete() ClusterSpec {
	place := placeOf(s.Name, s.Provider, s.Region)
	s.Provider, s.Region = place.provider, place.region
	if len(s.Zones) == 0 {
		s.Zones = place.zones
	}
	if s.RealNodes {
		s.Nodes = 1
	}
	s.Nodes = orDefault(s.Nodes, DefaultNodes)
	s.CPU = orDefault(s.CPU, 8)
	s.Memory = orDefault(s.Memory, "32Gi")
	s.Pods = orDefault(s.Pods, 110)
	return s
}

func orDefault[T comparable](value, fallback T) T {
	var zero T
	if value == zero {
		return fallback
	}
	return value
}

// conflict names the first field in which the wish s contradicts the existing
// cluster have, or returns nil. A running cluster is never changed in place:
// silently keeping the old shape would be a lie, changing it a surprise.
func (s ClusterSpec) conflict(have ClusterSpec) error {
	differs := func(field string, want, is any) error {
		return fmt.Errorf("cluster %s exists with %s %v, not %v: end it with `down --clusters %s` first", s.Name, field, is, want, s.Name)
	}
	switch {
	case s.Nodes != 0 && s.Nodes != have.Nodes:
		return differs("nodes", s.Nodes, have.Nodes)
	case s.Provider != "" && s.Provider != have.Provider:
		return differs("provider", s.Provider, have.Provider)
	case s.Region != "" && s.Region != have.Region:
		return differs("region", s.Region, have.Region)
	case len(s.Zones) != 0 && !slices.Equal(s.Zones, have.Zones):
		return differs("zones", s.Zones, have.Zones)
	case len(s.NodeLabels) != 0 && !maps.Equal(s.NodeLabels, have.NodeLabels):
		return differs("labels", s.NodeLabels, have.NodeLabels)
	case s.CPU != 0 && s.CPU != have.CPU:
		return differs("cpu", s.CPU, have.CPU)
	case s.Memory != "" && s.Memory != have.Memory:
		return differs("memory", s.Memory, have.Memory)
	case s.Pods != 0 && s.Pods != have.Pods:
		return differs("pods", s.Pods, have.Pods)
	case s.RealNodes && !have.RealNodes:
		return differs("realNodes", s.RealNodes, have.RealNodes)
	}
	return nil
}
