package placement

import (
	"fmt"
	"reflect"
	"strings"
	"sync"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/ext"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/version"

	"atoll.dev/atoll/api/v1alpha1"
)

// whereCost bounds one evaluation for one cluster, in CEL cost units: room for
// a few passes over a cluster's lists, none for a nested walk that would let
// one rule hold up the others.
const whereCost = 20_000

// clusterView is `cluster` in an expression. Its fields are typed, so that a
// misspelt one is refused when the rule is written. The link's state is left
// out on purpose: lost contact moves nothing.
type clusterView struct {
	Name            string            `cel:"name"`
	Labels          map[string]string `cel:"labels"`
	Stage           string            `cel:"stage"`
	Owner           string            `cel:"owner"`
	Provider        string            `cel:"provider"`
	Account         string            `cel:"account"`
	Region          string            `cel:"region"`
	Jurisdiction    string            `cel:"jurisdiction"`
	Tenant          string            `cel:"tenant"`
	Frameworks      []string          `cel:"frameworks"`
	HardwareProfile string            `cel:"hardwareProfile"`
	Profile         string            `cel:"profile"`
	Facts           factsView         `cel:"facts"`
}

// factsView is `cluster.facts`; quantities are in cores, bytes and pieces.
type factsView struct {
	KubernetesVersion string             `cel:"kubernetesVersion"`
	KubernetesMinor   int64              `cel:"kubernetesMinor"`
	Platform          string             `cel:"platform"`
	Nodes             int64              `cel:"nodes"`
	NodesReady        int64              `cel:"nodesReady"`
	Provider          string             `cel:"provider"`
	Regions           []string           `cel:"regions"`
	Zones             []string           `cel:"zones"`
	InstanceTypes     []string           `cel:"instanceTypes"`
	Capacity          map[string]float64 `cel:"capacity"`
	Allocatable       map[string]float64 `cel:"allocatable"`
	Requested         map[string]float64 `cel:"requested"`
	Free              map[string]float64 `cel:"free"`
	Pods              int64              `cel:"pods"`
	Namespaces        int64              `cel:"namespaces"`
	StorageClasses    []string           `cel:"storageClasses"`
	IngressClasses    []string           `cel:"ingressClasses"`
	APIGroups         []string           `cel:"apiGroups"`
}

var whereEnv = sync.OnceValues(func() (*cel.Env, error) {
	return cel.NewEnv(
		cel.OptionalTypes(), // ahead of the native types, whose provider takes no further ones
		ext.NativeTypes(reflect.TypeFor[clusterView](), reflect.TypeFor[factsView](), ext.ParseStructTags(true)),
		cel.Variable("cluster", cel.ObjectType("placement.clusterView")),
		cel.CrossTypeNumericComparisons(true),
		cel.DefaultUTCTimeZone(true),
		ext.Strings(),
		ext.Sets(),
	)
})

// where is a compiled expression.
type where struct {
	source     string
	program    cel.Program
	needsFacts bool
}

func compileWhere(source string) (*where, error) {
	env, err := whereEnv()
	if err != nil {
		return nil, fmt.Errorf("prepare expressions over clusters: %w", err)
	}
	checked, issues := env.Compile(source)
	if issues.Err() != nil {
		return nil, fmt.Errorf("where: %s", celMessage(issues))
	}
	if checked.OutputType() != cel.BoolType {
		return nil, fmt.Errorf("where: gives %s, not true or false; compare it with something", checked.OutputType())
	}
	program, err := env.Program(checked, cel.EvalOptions(cel.OptOptimize), cel.CostLimit(whereCost))
	if err != nil {
		return nil, fmt.Errorf("where: %w", err)
	}
	return &where{source: source, program: program, needsFacts: readsFacts(checked.NativeRep())}, nil
}

// celMessage is the first error in one line: "undefined field 'regoin' (column 9)".
func celMessage(issues *cel.Issues) string {
	first := issues.Errors()[0]
	message := strings.ReplaceAll(first.Message, "placement.clusterView", "cluster")
	message = strings.ReplaceAll(message, "placement.factsView", "cluster.facts")
	return fmt.Sprintf("%s (line %d, column %d)", message, first.Location.Line(), first.Location.Column()+1)
}

// readsFacts tells whether an expression selects cluster.facts.
func readsFacts(a *ast.AST) bool {
	found := false
	ast.PreOrderVisit(a.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() != ast.SelectKind || e.AsSelect().FieldName() != "facts" {
			return
		}
		operand := e.AsSelect().Operand()
		found = found || (operand.Kind() == ast.IdentKind && operand.AsIdent() == "cluster")
	}))
	return found
}

// refuse evaluates the expression for one cluster; nil means it holds.
func (w *where) refuse(c *v1alpha1.Cluster) *Refusal {
	if w.needsFacts && c.Status.Facts == nil {
		return &Refusal{FactsMissing, "where reads facts and the agent has not reported any yet"}
	}
	view := viewOf(c)
	if w.needsFacts {
		view.Facts = factsOf(c.Status.Facts)
	}
	out, _, err := w.program.Eval(map[string]any{"cluster": view})
	if err != nil {
		return &Refusal{WhereFailed, "where cannot be evaluated here: " + err.Error()}
	}
	if out != types.True {
		return &Refusal{WhereFalse, "where does not hold: " + w.source}
	}
	return nil
}

func viewOf(c *v1alpha1.Cluster) *clusterView {
	return &clusterView{
		Name: c.Name, Labels: c.Labels, Stage: c.Labels["stage"],
		Owner: c.Spec.Owner, Provider: c.Spec.Provider, Account: c.Spec.Account,
		Region: c.Spec.Region, Jurisdiction: c.Spec.Jurisdiction, Tenant: c.Spec.Tenant,
		Frameworks: c.Spec.Frameworks, HardwareProfile: c.Spec.HardwareProfile,
		Profile: string(c.Spec.Profile),
	}
}

func factsOf(f *v1alpha1.Facts) factsView {
	return factsView{
		KubernetesVersion: f.KubernetesVersion, KubernetesMinor: minorOf(f.KubernetesVersion),
		Platform: f.Platform, Nodes: int64(f.Nodes), NodesReady: int64(f.NodesReady),
		Provider: f.Provider, Regions: f.Regions, Zones: f.Zones, InstanceTypes: f.InstanceTypes,
		Capacity: amounts(f.Capacity), Allocatable: amounts(f.Allocatable), Requested: amounts(f.Requested),
		Free: free(f.Allocatable, f.Requested), Pods: int64(f.Pods), Namespaces: int64(f.Namespaces),
		StorageClasses: f.StorageClasses, IngressClasses: f.IngressClasses, APIGroups: f.APIGroups,
	}
}

func amounts(quantities map[string]resource.Quantity) map[string]float64 {
	out := make(map[string]float64, len(quantities))
	for name, q := range quantities {
		out[name] = q.AsApproximateFloat64()
	}
	return out
}

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
func minorOf(kubernetesVersion string) int64 {
	v, err := version.ParseGeneric(kubernetesVersion)
	if err != nil {
		return 0
	}
	return int64(v.Minor())
}
