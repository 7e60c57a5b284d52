package demo

import "atoll.dev/atoll/internal/sandbox"

// member is one cluster of the demo.
type member struct {
	name, provider, stage, purpose string
	// region is "" where the nodes claim none of a provider's.
	region, jurisdiction string
}

// members have the names of regions, from which the sandbox derives the labels
// of EKS, GKE and AKS that their nodes carry.
var members = []member{
	{name: "us-east-1", provider: "eks", stage: "production", region: "us-east-1", purpose: "customers in the Americas"},
	{name: "us-west-2", provider: "eks", stage: "standby", region: "us-west-2", purpose: "stands in for us-east-1"},
	{name: "europe-west1", provider: "gke", stage: "production", region: "europe-west1", jurisdiction: "eu", purpose: "customers in Europe"},
	{name: "southeastasia", provider: "aks", stage: "production", region: "southeastasia", purpose: "customers in Asia"},
	{name: "staging", provider: "local", stage: "staging", purpose: "what comes next"},
}

func specs() []sandbox.ClusterSpec {
	out := make([]sandbox.ClusterSpec, 0, len(members))
	for _, m := range members {
		out = append(out, sandbox.ClusterSpec{Name: m.name})
	}
	return out
}

// join is what `atoll` is called with to register the member.
func (m member) join() []string {
	args := []string{"join", m.name, "--owner", "platform", "--purpose", m.purpose,
		"--label", "stage=" + m.stage, "--provider", m.provider, "-o", "yaml"}
	if m.region != "" {
		args = append(args, "--region", m.region)
	}
	if m.jurisdiction != "" {
		args = append(args, "--jurisdiction", m.jurisdiction)
	}
	return args
}
