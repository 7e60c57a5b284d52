package placement

import (
	"errors"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/version"

	"atoll.dev/atoll/api/v1alpha1"
)

// errNoFacts fails an expression that needs facts before any were reported:
// silence is neither more nor fewer than two nodes.
var errNoFacts = errors.New("no facts reported yet")

// attribute is one field that an expression may read.
type attribute[T any] struct {
	kind *cel.Type
	read func(T) any
}

var (
	clusterType = cel.ObjectType("atoll.Cluster")
	factsType   = cel.ObjectType("atoll.Facts")
	texts       = cel.ListType(cel.StringType)
	textByName  = cel.MapType(cel.StringType, cel.StringType)
	amountsType = cel.MapType(cel.StringType, cel.DoubleType)
)

// clusterFields is `cluster`. The link's state is left out on purpose: lost
// contact moves nothing.
var clusterFields = map[string]attribute[*v1alpha1.Cluster]{
	"name":            {cel.StringType, func(c *v1alpha1.Cluster) any { return c.Name }},
	"labels":          {textByName, func(c *v1alpha1.Cluster) any { return c.Labels }},
	"stage":           {cel.StringType, func(c *v1alpha1.Cluster) any { return c.Labels["stage"] }},
	"owner":           {cel.StringType, func(c *v1alpha1.Cluster) any { return c.Spec.Owner }},
	"provider":        {cel.StringType, func(c *v1alpha1.Cluster) any { return c.Spec.Provider }},
	"account":         {cel.StringType, func(c *v1alpha1.Cluster) any { return c.Spec.Account }},
	"region":          {cel.StringType, func(c *v1alpha1.Cluster) any { return c.Spec.Region }},
	"jurisdiction":    {cel.StringType, func(c *v1alpha1.Cluster) any { return c.Spec.Jurisdiction }},
	"tenant":          {cel.StringType, func(c *v1alpha1.Cluster) any { return c.Spec.Tenant }},
	"frameworks":      {texts, func(c *v1alpha1.Cluster) any { return c.Spec.Frameworks }},
	"hardwareProfile": {cel.StringType, func(c *v1alpha1.Cluster) any { return c.Spec.HardwareProfile }},
	"profile":         {cel.StringType, func(c *v1alpha1.Cluster) any { return string(c.Spec.Profile) }},
	"facts": {factsType, func(c *v1alpha1.Cluster) any {
		if c.Status.Facts == nil {
			return types.WrapErr(errNoFacts)
		}
		return record[*v1alpha1.Facts]{factsType, factsFields, c.Status.Facts}
	}},
}

// factsFields is `cluster.facts`; quantities are in cores, bytes and pieces.
var factsFields = map[string]attribute[*v1alpha1.Facts]{
	"kubernetesVersion": {cel.StringType, func(f *v1alpha1.Facts) any { return f.KubernetesVersion }},
	"kubernetesMinor":   {cel.IntType, func(f *v1alpha1.Facts) any { return minorOf(f.KubernetesVersion) }},
	"platform":          {cel.StringType, func(f *v1alpha1.Facts) any { return f.Platform }},
	"nodes":             {cel.IntType, func(f *v1alpha1.Facts) any { return f.Nodes }},
	"nodesReady":        {cel.IntType, func(f *v1alpha1.Facts) any { return f.NodesReady }},
	"provider":          {cel.StringType, func(f *v1alpha1.Facts) any { return f.Provider }},
	"regions":           {texts, func(f *v1alpha1.Facts) any { return f.Regions }},
	"zones":             {texts, func(f *v1alpha1.Facts) any { return f.Zones }},
	"instanceTypes":     {texts, func(f *v1alpha1.Facts) any { return f.InstanceTypes }},
	"capacity":          {amountsType, func(f *v1alpha1.Facts) any { return amounts(f.Capacity) }},
	"allocatable":       {amountsType, func(f *v1alpha1.Facts) any { return amounts(f.Allocatable) }},
	"requested":         {amountsType, func(f *v1alpha1.Facts) any { return amounts(f.Requested) }},
	"free":              {amountsType, func(f *v1alpha1.Facts) any { return free(f.Allocatable, f.Requested) }},
	"pods":              {cel.IntType, func(f *v1alpha1.Facts) any { return f.Pods }},
	"namespaces":        {cel.IntType, func(f *v1alpha1.Facts) any { return f.Namespaces }},
	"storageClasses":    {texts, func(f *v1alpha1.Facts) any { return f.StorageClasses }},
	"ingressClasses":    {texts, func(f *v1alpha1.Facts) any { return f.IngressClasses }},
	"apiGroups":         {texts, func(f *v1alpha1.Facts) any { return f.APIGroups }},
}

func amounts(quantities map[string]resource.Quantity) map[string]float64 {
	out := make(map[string]float64, len(quantities))
	for name, q := range quantities {
		out[name] = q.AsApproximateFloat64()
	}
	return out
}

// free is allocatable less requested, for what is allocatable.
func free(allocatable, requested map[string]resource.Quantity) map[string]float64 {
	out := amounts(allocatable)
	for name, q := range requested {
		if _, ok := out[name]; ok {
			out[name] -= q.AsApproximateFloat64()
		}
	}
	return out
}

// minorOf is 36 of "v1.36.3"; 0 when the version does not parse.
func minorOf(kubernetesVersion string) int {
	v, err := version.ParseGeneric(kubernetesVersion)
	if err != nil {
		return 0
	}
	return int(v.Minor())
}
