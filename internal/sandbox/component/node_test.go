package component

import (
	"regexp"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"atoll.dev/atoll/internal/sandbox"
)

func TestNodesLookLikeTheirProviders(t *testing.T) {
	for _, tc := range []struct {
		provider     sandbox.Provider
		zones        []string
		id, instance string
		label        string
	}{
		{sandbox.EKS, []string{"us-east-1a", "us-east-1b"}, `^aws:///us-east-1b/i-0[0-9a-f]{16}$`, "m6i.2xlarge", "eks.amazonaws.com/nodegroup"},
		{sandbox.GKE, []string{"europe-west1-b", "europe-west1-c"}, `^gce://atoll-sandbox/europe-west1-c/gke-[a-z0-9-]+$`, "e2-standard-8", "cloud.google.com/gke-nodepool"},
		{sandbox.AKS, []string{"westeurope-1", "westeurope-2"}, `^azure:///subscriptions/[0-9a-f-]{36}/resourceGroups/mc_c/providers/Microsoft.Compute/virtualMachineScaleSets/[a-z0-9-]+/virtualMachines/1$`, "Standard_D8s_v5", "kubernetes.azure.com/cluster"},
		{sandbox.Local, []string{"local-a"}, `^sandbox://c/c-2$`, "sandbox.8x32", corev1.LabelHostname},
	} {
		state := sandbox.State{Spec: sandbox.ClusterSpec{
			Name: "c", Provider: tc.provider, Region: "r", Zones: tc.zones, CPU: 4, Memory: "8Gi", Pods: 50,
			NodeLabels: map[string]string{"stage": "production", corev1.LabelTopologyRegion: "mine"},
		}}
		node, err := buildNode(state, 1)
		if err != nil {
			t.Fatal(err)
		}
		if !regexp.MustCompile(tc.id).MatchString(node.Spec.ProviderID) {
			t.Errorf("%s: provider ID %q", tc.provider, node.Spec.ProviderID)
		}
		if got := node.Labels[corev1.LabelInstanceTypeStable]; got != tc.instance {
			t.Errorf("%s: instance type %q", tc.provider, got)
		}
		if node.Labels[tc.label] == "" || node.Labels["stage"] != "production" || node.Labels[corev1.LabelTopologyRegion] != "mine" {
			t.Errorf("%s: labels %v", tc.provider, node.Labels)
		}
		if got := node.Labels[corev1.LabelTopologyZone]; got != tc.zones[1%len(tc.zones)] {
			t.Errorf("%s: zone %q", tc.provider, got)
		}
		for key, value := range node.Labels {
			if problems := append(validation.IsQualifiedName(key), validation.IsValidLabelValue(value)...); len(problems) > 0 {
				t.Errorf("%s: label %s=%s: %v", tc.provider, key, value, problems)
			}
		}
		if cpu := node.Status.Capacity.Cpu().Value(); cpu != 4 {
			t.Errorf("%s: %d cores", tc.provider, cpu)
		}
	}
}
