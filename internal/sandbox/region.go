package sandbox

import "regexp"

// Provider is whose managed Kubernetes a cluster's nodes claim to be.
type Provider string

// The providers whose labels and provider IDs the nodes can carry.
const (
	EKS   Provider = "eks"
	GKE   Provider = "gke"
	AKS   Provider = "aks"
	Local Provider = "local"
)

// providers gives each provider's zone suffixes, to be put after the region.
var providers = map[Provider][]string{
	EKS:   {"a", "b", "c"},
	GKE:   {"-b", "-c", "-d"},
	AKS:   {"-1", "-2", "-3"},
	Local: {"-a"},
}

// The three clouds name regions in shapes that do not overlap: us-east-1,
// europe-west1, southeastasia. Azure's have no shape of their own, so those
// are listed.
var (
	awsRegion   = regexp.MustCompile(`^(af|ap|ca|cn|eu|il|me|mx|sa|us)(-gov)?-(north|south|east|west|central|northeast|northwest|southeast|southwest)-[1-9]$`)
	gcpRegion   = regexp.MustCompile(`^(africa|asia|australia|europe|me|northamerica|southamerica|us)-(north|south|east|west|central|northeast|northwest|southeast|southwest)[0-9]{1,2}$`)
	azureRegion = map[string]bool{
		"eastus": true, "eastus2": true, "westus": true, "westus2": true, "westus3": true,
		"centralus": true, "northcentralus": true, "southcentralus": true,
		"northeurope": true, "westeurope": true, "uksouth": true, "francecentral": true,
		"germanywestcentral": true, "swedencentral": true, "switzerlandnorth": true, "norwayeast": true,
		"southeastasia": true, "eastasia": true, "japaneast": true, "koreacentral": true,
		"australiaeast": true, "centralindia": true, "brazilsouth": true, "canadacentral": true,
		"southafricanorth": true, "uaenorth": true,
	}
)

type place struct {
	provider Provider
	region   string
	zones    []string
}

// placeOf says where a cluster is, from what was given and, failing that,
// from its name.
func placeOf(name string, provider Provider, region string) place {
	if region == "" && providerOfRegion(name) != Local {
		region = name
	}
	if provider == "" {
		provider = providerOfRegion(region)
	}
	if region == "" {
		region = "local"
	}
	p := place{provider: provider, region: region}
	for _, suffix := range providers[provider] {
		p.zones = append(p.zones, region+suffix)
	}
	return p
}

func providerOfRegion(region string) Provider {
	switch {
	case awsRegion.MatchString(region):
		return EKS
	case gcpRegion.MatchString(region):
		return GKE
	case azureRegion[region]:
		return AKS
	}
	return Local
}
