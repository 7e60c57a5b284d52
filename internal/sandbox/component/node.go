package component

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/component-base/version"

	"atoll.dev/atoll/internal/sandbox"
)

func nodeName(spec sandbox.ClusterSpec, n int) string { return sandbox.NodeName(spec, n) }

// buildNode is node n of a cluster, as the provider's kubelet would register it.
func buildNode(state sandbox.State, n int) (*corev1.Node, error) {
	spec := state.Spec
	capacity, err := nodeCapacity(spec)
	if err != nil {
		return nil, fmt.Errorf("cluster %s: %w", spec.Name, err)
	}
	name, zone := nodeName(spec, n), spec.Zones[n%len(spec.Zones)]
	labels := map[string]string{
		corev1.LabelHostname:           name,
		corev1.LabelTopologyRegion:     spec.Region,
		corev1.LabelTopologyZone:       zone,
		corev1.LabelInstanceTypeStable: instanceTypes[spec.Provider],
		corev1.LabelOSStable:           "linux",
		corev1.LabelArchStable:         "amd64",
	}
	maps.Copy(labels, providerLabels(spec))
	maps.Copy(labels, spec.NodeLabels)
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels},
		Spec:       corev1.NodeSpec{ProviderID: providerID(spec, zone, name, n)},
		Status: corev1.NodeStatus{
			Capacity:    capacity,
			Allocatable: capacity,
			Addresses: []corev1.NodeAddress{
				{Type: corev1.NodeInternalIP, Address: state.NodeIP(n)},
				{Type: corev1.NodeHostName, Address: name},
			},
			DaemonEndpoints: corev1.NodeDaemonEndpoints{
				KubeletEndpoint: corev1.DaemonEndpoint{Port: int32(state.Ports.Kubelet)},
			},
			NodeInfo: corev1.NodeSystemInfo{
				MachineID: digest(name, "machine")[:32], SystemUUID: digest(name, "system")[:32], BootID: digest(name, "boot")[:32],
				KernelVersion: "6.12.0-sandbox", OSImage: "Atoll sandbox (simulated)", ContainerRuntimeVersion: "kwok://simulated",
				KubeletVersion: version.Get().GitVersion, OperatingSystem: "linux", Architecture: "amd64",
			},
		},
	}, nil
}

func nodeCapacity(spec sandbox.ClusterSpec) (corev1.ResourceList, error) {
	memory, err := resource.ParseQuantity(spec.Memory)
	if err != nil {
		return nil, fmt.Errorf("memory %q: %w", spec.Memory, err)
	}
	return corev1.ResourceList{
		corev1.ResourceCPU:              *resource.NewQuantity(int64(spec.CPU), resource.DecimalSI),
		corev1.ResourceMemory:           memory,
		corev1.ResourcePods:             *resource.NewQuantity(int64(spec.Pods), resource.DecimalSI),
		corev1.ResourceEphemeralStorage: resource.MustParse("100Gi"),
	}, nil
}

// Types of 8 cores and 32 GiB, the default capacity.
var instanceTypes = map[sandbox.Provider]string{
	sandbox.EKS:   "m6i.2xlarge",
	sandbox.GKE:   "e2-standard-8",
	sandbox.AKS:   "Standard_D8s_v5",
	sandbox.Local: "sandbox.8x32",
}

// providerLabels are what software that detects the provider looks for.
func providerLabels(spec sandbox.ClusterSpec) map[string]string {
	switch spec.Provider {
	case sandbox.EKS:
		return map[string]string{"eks.amazonaws.com/nodegroup": "default", "eks.amazonaws.com/capacityType": "ON_DEMAND"}
	case sandbox.GKE:
		return map[string]string{"cloud.google.com/gke-nodepool": "default-pool", "cloud.google.com/gke-os-distribution": "cos"}
	case sandbox.AKS:
		return map[string]string{"kubernetes.azure.com/cluster": "MC_" + spec.Name, "kubernetes.azure.com/agentpool": "nodepool1", "kubernetes.azure.com/mode": "system"}
	}
	return nil
}

// providerID has the shape of each provider's cloud controller.
func providerID(spec sandbox.ClusterSpec, zone, name string, n int) string {
	id := digest(spec.Name, name)
	switch spec.Provider {
	case sandbox.EKS:
		return fmt.Sprintf("aws:///%s/i-0%s", zone, id[:16])
	case sandbox.GKE:
		return fmt.Sprintf("gce://atoll-sandbox/%s/gke-%s-default-pool-%s", zone, spec.Name, id[:8])
	case sandbox.AKS:
		return "azure:///subscriptions/" + uuidOf(digest("subscription")) + "/resourceGroups/mc_" + spec.Name +
			"/providers/Microsoft.Compute/virtualMachineScaleSets/aks-nodepool1-" + id[:8] + "-vmss/virtualMachines/" + strconv.Itoa(n)
	}
	return "sandbox://" + spec.Name + "/" + name
}

// digest makes identifiers that look random and stay the same.
func digest(parts ...string) string {
	sum := sha256.Sum256(fmt.Append(nil, parts))
	return hex.EncodeToString(sum[:])
}

func uuidOf(hex string) string {
	return hex[:8] + "-" + hex[8:12] + "-" + hex[12:16] + "-" + hex[16:20] + "-" + hex[20:32]
}
