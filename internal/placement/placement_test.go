package placement

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"atoll.dev/atoll/api/v1alpha1"
)

// aCluster is accepted, joined, connected and without any restriction.
func aCluster(name string, changes ...func(*v1alpha1.Cluster)) v1alpha1.Cluster {
	c := v1alpha1.Cluster{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"stage": "production"}},
		Spec:       v1alpha1.ClusterSpec{Owner: "platform", Accepted: true},
		Status: v1alpha1.ClusterStatus{
			Identity:   &v1alpha1.AgentIdentity{ClusterUID: "uid-" + name},
			Connection: v1alpha1.Connection{State: v1alpha1.Connected},
		},
	}
	for _, change := range changes {
		change(&c)
	}
	return c
}

func aProject(changes ...func(*v1alpha1.ProjectSpec)) *v1alpha1.Project {
	p := &v1alpha1.Project{ObjectMeta: metav1.ObjectMeta{Name: "demo"}}
	for _, change := range changes {
		change(&p.Spec)
	}
	return p
}

func n(i int32) *int32 { return &i }

var production = v1alpha1.PlacementRule{Clusters: "stage=production"}

func decide(t *testing.T, in Input) Decision {
	t.Helper()
	d, err := Decide(in)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestOneClusterIsChosenOrRefusedWithItsReason(t *testing.T) {
	eu := &v1alpha1.Residency{Jurisdictions: []string{"eu"}}
	for _, tc := range []struct {
		name     string
		cluster  func(*v1alpha1.Cluster)
		project  func(*v1alpha1.ProjectSpec)
		rule     func(*v1alpha1.PlacementRule)
		previous bool
		want     Reason
		says     string
	}{
		{name: "all rules hold", want: Chosen},
		{name: "chosen before stays", previous: true, want: Kept},
		{name: "a silent cluster is chosen all the same", cluster: func(c *v1alpha1.Cluster) { c.Status.Connection.State = v1alpha1.Disconnected }, want: Chosen},
		{name: "a lost cluster stays chosen", cluster: func(c *v1alpha1.Cluster) { c.Status.Connection.State = v1alpha1.Disconnected }, previous: true, want: Kept},
		{name: "not accepted yet", cluster: func(c *v1alpha1.Cluster) { c.Spec.Accepted = false }, want: NotAccepted, says: "atoll accept a"},
		{name: "accepted and never joined", cluster: func(c *v1alpha1.Cluster) { c.Status.Identity = nil }, want: NotJoined},
		{name: "direct access needs no agent to join", cluster: func(c *v1alpha1.Cluster) {
			c.Status.Identity, c.Spec.Direct = nil, &v1alpha1.DirectAccess{SecretName: "s"}
		}, want: Chosen},
		{name: "being removed", cluster: func(c *v1alpha1.Cluster) { c.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)} }, want: BeingDeleted},
		{name: "outside the project's clusters", project: func(p *v1alpha1.ProjectSpec) { p.Clusters = "team=a" }, want: OutsideProject, says: "team=a"},
		{name: "dedicated to another tenant", cluster: func(c *v1alpha1.Cluster) { c.Spec.Tenant = "acme" }, project: func(p *v1alpha1.ProjectSpec) { p.Tenant = "globex" }, want: TenantMismatch, says: "acme"},
		{name: "dedicated, and the project has no tenant", cluster: func(c *v1alpha1.Cluster) { c.Spec.Tenant = "acme" }, want: TenantMismatch},
		{name: "a tenant's project keeps to its clusters", project: func(p *v1alpha1.ProjectSpec) { p.Tenant = "acme" }, want: TenantMismatch},
		{name: "same tenant", cluster: func(c *v1alpha1.Cluster) { c.Spec.Tenant = "acme" }, project: func(p *v1alpha1.ProjectSpec) { p.Tenant = "acme" }, want: Chosen},
		{name: "no declared jurisdiction where one is demanded", project: func(p *v1alpha1.ProjectSpec) { p.Residency = eu }, want: ResidencyViolation, says: "declares none"},
		{name: "another jurisdiction", cluster: func(c *v1alpha1.Cluster) { c.Spec.Jurisdiction = "us" }, project: func(p *v1alpha1.ProjectSpec) { p.Residency = eu }, want: ResidencyViolation, says: "is in us"},
		{name: "residency moves even what ran before", cluster: func(c *v1alpha1.Cluster) { c.Spec.Jurisdiction = "us" }, project: func(p *v1alpha1.ProjectSpec) { p.Residency = eu }, previous: true, want: ResidencyViolation},
		{name: "the rule cannot widen the project's residency", cluster: func(c *v1alpha1.Cluster) { c.Spec.Jurisdiction = "us" }, project: func(p *v1alpha1.ProjectSpec) { p.Residency = eu },
			rule: func(r *v1alpha1.PlacementRule) {
				r.Residency = &v1alpha1.Residency{Jurisdictions: []string{"eu", "us"}}
			}, want: ResidencyViolation},
		{name: "the rule narrows to a region", cluster: func(c *v1alpha1.Cluster) { c.Spec.Jurisdiction, c.Spec.Region = "eu", "eu-west-1" }, project: func(p *v1alpha1.ProjectSpec) { p.Residency = eu },
			rule: func(r *v1alpha1.PlacementRule) {
				r.Residency = &v1alpha1.Residency{Regions: []string{"eu-central-1"}}
			}, want: ResidencyViolation, says: "the placement demands region eu-central-1"},
		{name: "inside the residency", cluster: func(c *v1alpha1.Cluster) { c.Spec.Jurisdiction = "eu" }, project: func(p *v1alpha1.ProjectSpec) { p.Residency = eu }, want: Chosen},
		{name: "nodes in another region than declared", cluster: func(c *v1alpha1.Cluster) {
			c.Spec.Region, c.Status.Facts = "eu-west-1", &v1alpha1.Facts{Regions: []string{"us-east-1"}}
		}, want: FactsMismatch, says: "us-east-1"},
		{name: "one node abroad is enough", cluster: func(c *v1alpha1.Cluster) {
			c.Spec.Region, c.Status.Facts = "eu-west-1", &v1alpha1.Facts{Regions: []string{"eu-west-1", "us-east-1"}}
		}, want: FactsMismatch},
		{name: "a wrong node label withdraws nothing where residency is free", cluster: func(c *v1alpha1.Cluster) {
			c.Spec.Region, c.Status.Facts = "eu-west-1", &v1alpha1.Facts{Regions: []string{"us-east-1"}}
		}, previous: true, want: Kept},
		{name: "where residency is demanded nodes abroad end it", cluster: func(c *v1alpha1.Cluster) {
			c.Spec.Jurisdiction, c.Spec.Region, c.Status.Facts = "eu", "eu-west-1", &v1alpha1.Facts{Regions: []string{"us-east-1"}}
		}, project: func(p *v1alpha1.ProjectSpec) { p.Residency = eu }, previous: true, want: FactsMismatch},
		{name: "eks nodes say aws", cluster: func(c *v1alpha1.Cluster) {
			c.Spec.Provider, c.Status.Facts = "eks", &v1alpha1.Facts{Provider: "aws"}
		}, want: Chosen},
		{name: "eks declared on google's nodes", cluster: func(c *v1alpha1.Cluster) {
			c.Spec.Provider, c.Status.Facts = "eks", &v1alpha1.Facts{Provider: "gce"}
		}, want: FactsMismatch},
		{name: "an unknown provider contradicts nothing", cluster: func(c *v1alpha1.Cluster) {
			c.Spec.Provider, c.Status.Facts = "eks", &v1alpha1.Facts{Provider: "metal"}
		}, want: Chosen},
		{name: "a read-only agent", cluster: func(c *v1alpha1.Cluster) { c.Spec.Profile = v1alpha1.ProfileRead }, want: ReadOnlyProfile},
		{name: "not among the names", rule: func(r *v1alpha1.PlacementRule) { r.Names = []string{"b"} }, want: NameNotListed},
		{name: "named but the labels differ", rule: func(r *v1alpha1.PlacementRule) { r.Names, r.Clusters = []string{"a"}, "stage=staging" }, want: LabelsMismatch},
		{name: "where is false", rule: func(r *v1alpha1.PlacementRule) { r.Where = "cluster.region == 'x'" }, want: WhereFalse},
		{name: "where meets a label the cluster lacks", rule: func(r *v1alpha1.PlacementRule) { r.Where = "cluster.labels.tier == 'x'" }, want: WhereFailed, says: "no such key: tier"},
		{name: "where reads facts nobody reported", rule: func(r *v1alpha1.PlacementRule) { r.Where = "cluster.facts.nodes < 3" }, want: FactsMissing},
		{name: "where reads facts by a detour", rule: func(r *v1alpha1.PlacementRule) { r.Where = "!([cluster].exists(c, c.facts.nodes > 3))" }, want: FactsMissing},
		{name: "where needs no facts to hold", rule: func(r *v1alpha1.PlacementRule) { r.Where = "cluster.facts.nodes > 3 || cluster.name == 'a'" }, want: Chosen},
		{name: "a taint nobody tolerates", cluster: taint(v1alpha1.TaintNoSelect), want: Tainted, says: "gpu=a100:NoSelect"},
		{name: "NoSelect leaves what runs", cluster: taint(v1alpha1.TaintNoSelect), previous: true, want: Kept},
		{name: "NoExecute does not", cluster: taint(v1alpha1.TaintNoExecute), previous: true, want: Tainted},
		{name: "tolerated by key", cluster: taint(v1alpha1.TaintNoExecute), rule: func(r *v1alpha1.PlacementRule) { r.Tolerations = []v1alpha1.Toleration{{Key: "gpu"}} }, want: Chosen},
		{name: "tolerated with another value", cluster: taint(v1alpha1.TaintNoExecute), rule: func(r *v1alpha1.PlacementRule) {
			r.Tolerations = []v1alpha1.Toleration{{Key: "gpu", Value: "h100"}}
		}, want: Tainted},
		{name: "cordoned", cluster: func(c *v1alpha1.Cluster) { c.Spec.Unschedulable = true }, want: Cordoned},
		{name: "a cordon leaves what runs", cluster: func(c *v1alpha1.Cluster) { c.Spec.Unschedulable = true }, previous: true, want: Kept, says: "cordon"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			in := Input{Rule: production, Project: aProject(), Clusters: []v1alpha1.Cluster{aCluster("a")}}
			if tc.cluster != nil {
				tc.cluster(&in.Clusters[0])
			}
			if tc.project != nil {
				tc.project(&in.Project.Spec)
			}
			if tc.rule != nil {
				tc.rule(&in.Rule)
			}
			if tc.previous {
				in.Previous = []string{"a"}
			}
			d := decide(t, in)
			got := d.Why["a"]
			if got.Reason != tc.want || !strings.Contains(got.Message, tc.says) {
				t.Errorf("a is %s: %q; want %s saying %q", got.Reason, got.Message, tc.want, tc.says)
			}
			if in := tc.want == Chosen || tc.want == Kept; got.Chosen != in || d.Empty == in {
				t.Errorf("chosen %v, empty %v with reason %s", got.Chosen, d.Empty, got.Reason)
			}
		})
	}
}

func taint(effect v1alpha1.TaintEffect) func(*v1alpha1.Cluster) {
	return func(c *v1alpha1.Cluster) {
		c.Spec.Taints = []v1alpha1.Taint{{Key: "gpu", Value: "a100", Effect: effect}}
	}
}

func TestEveryFailingFilterIsTold(t *testing.T) {
	d := decide(t, Input{Rule: production, Project: aProject(), Clusters: []v1alpha1.Cluster{aCluster("a", func(c *v1alpha1.Cluster) {
		c.Spec.Tenant, c.Labels, c.Spec.Unschedulable = "acme", nil, true
	})}})
	got := []Reason{d.Why["a"].Reason}
	for _, also := range d.Why["a"].Also {
		got = append(got, also.Reason)
	}
	if diff := cmp.Diff([]Reason{TenantMismatch, LabelsMismatch, Cordoned}, got); diff != "" {
		t.Error(diff)
	}
}

func TestCountTakesTheConnectedThenOnePerFailureDomain(t *testing.T) {
	in := func(region string) func(*v1alpha1.Cluster) {
		return func(c *v1alpha1.Cluster) { c.Spec.Region = region }
	}
	lost := func(c *v1alpha1.Cluster) { c.Status.Connection.State = v1alpha1.Disconnected }
	fleet := []v1alpha1.Cluster{
		aCluster("a1", in("r1")), aCluster("a2", in("r1")), aCluster("a3", in("r1")),
		aCluster("b1", in("r2")), aCluster("b2", in("r2")), aCluster("c1", in("r3"), lost),
	}
	for _, tc := range []struct {
		name     string
		count    int32
		previous []string
		want     []string
		missing  int
	}{
		{"one of each region first", 2, nil, []string{"a1", "b1"}, 0},
		{"the second of a region comes before the disconnected", 5, nil, []string{"a1", "a2", "a3", "b1", "b2"}, 0},
		{"more than there are takes all and says how many miss", 9, nil, []string{"a1", "a2", "a3", "b1", "b2", "c1"}, 3},
		{"those chosen before stay although others spread better", 2, []string{"a2", "a3"}, []string{"a2", "a3"}, 0},
		{"a lost one stays", 2, []string{"c1", "a3"}, []string{"a3", "c1"}, 0},
		{"the new ones go where the old are not", 2, []string{"a3"}, []string{"a3", "b1"}, 0},
		{"shrinking keeps some of those chosen before, spread", 2, []string{"a1", "a2", "b2"}, []string{"a1", "b2"}, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := decide(t, Input{Rule: v1alpha1.PlacementRule{Clusters: "stage=production", Count: n(tc.count)}, Project: aProject(), Clusters: fleet, Previous: tc.previous})
			if diff := cmp.Diff(tc.want, d.Chosen); diff != "" {
				t.Error(diff)
			}
			if d.Missing != tc.missing {
				t.Errorf("missing %d, want %d", d.Missing, tc.missing)
			}
		})
	}
}

func TestNothingIsChosenWithout(t *testing.T) {
	fleet := []v1alpha1.Cluster{aCluster("a")}
	for _, tc := range []struct {
		name string
		in   Input
		want Reason
	}{
		{"a rule that asks for something", Input{Rule: v1alpha1.PlacementRule{Count: n(3)}, Project: aProject(), Clusters: fleet}, EmptyRule},
		{"a project", Input{Rule: production, Clusters: fleet}, NoProject},
		{"a project whose selector parses", Input{Rule: production, Project: aProject(func(p *v1alpha1.ProjectSpec) { p.Clusters = "a in" }), Clusters: fleet}, InvalidBounds},
		{"a fleet", Input{Rule: production, Project: aProject()}, NoMatch},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := decide(t, tc.in)
			if !d.Empty || d.Reason != tc.want || d.Message == "" || len(d.Why) != len(tc.in.Clusters) {
				t.Errorf("got %+v, want an empty decision for %s", d, tc.want)
			}
		})
	}
}

func TestNamesThatNobodyBearsAreTold(t *testing.T) {
	d := decide(t, Input{
		Rule: v1alpha1.PlacementRule{Names: []string{"a", "ghost"}}, Project: aProject(),
		Clusters: []v1alpha1.Cluster{aCluster("a")}, Previous: []string{"a", "gone"},
	})
	if d.Why["ghost"].Reason != NotFound || d.Why["gone"].Reason != NotFound {
		t.Errorf("verdicts %+v", d.Why)
	}
	if diff := cmp.Diff([]string{"gone"}, d.Left); diff != "" {
		t.Error(diff)
	}
	if v := d.Verdicts(); len(v) != 3 || v[0].Cluster != "a" || v[1].Cluster != "ghost" {
		t.Errorf("order %+v", v)
	}
}

func TestWhereReadsTheClusterAndItsFacts(t *testing.T) {
	c := aCluster("a", func(c *v1alpha1.Cluster) {
		c.Spec.Frameworks = []string{"soc2"}
		c.Status.Facts = &v1alpha1.Facts{
			KubernetesVersion: "v1.36.3", Nodes: 3, StorageClasses: []string{"standard"},
			Allocatable: map[string]resource.Quantity{"cpu": resource.MustParse("7500m"), "memory": resource.MustParse("16Gi")},
			Requested:   map[string]resource.Quantity{"cpu": resource.MustParse("500m")},
		}
	})
	for _, expression := range []string{
		"true",
		"cluster.name == 'a' && cluster.stage == 'production'",
		"cluster.labels[?'tier'].orValue('none') == 'none'",
		"cluster.facts.nodes > 2 && cluster.facts.kubernetesMinor >= 36",
		"cluster.facts.free.cpu >= 7",
		"cluster.facts.allocatable.memory > 8.0 * 1024.0 * 1024.0 * 1024.0",
		"'soc2' in cluster.frameworks",
		"cluster.facts.storageClasses.exists(s, s.startsWith('stand'))",
		"sets.contains(cluster.frameworks, ['soc2'])",
		"!has(cluster.tenant) && has(cluster.facts.storageClasses) && !has(cluster.facts.zones)",
		"has(cluster.labels.stage) && !has(cluster.labels.tier) && has(cluster.facts)",
		"[cluster].all(c, c == cluster && c.facts.nodes == 3)",
		"type(cluster) == type(cluster)",
	} {
		d := decide(t, Input{Rule: v1alpha1.PlacementRule{Where: expression}, Project: aProject(), Clusters: []v1alpha1.Cluster{c}})
		if !d.Why["a"].Chosen {
			t.Errorf("%s: %+v", expression, d.Why["a"])
		}
	}
}

func TestWhatIsWrongWithARuleIsNamed(t *testing.T) {
	for _, tc := range []struct {
		rule v1alpha1.PlacementRule
		says string
	}{
		{v1alpha1.PlacementRule{Where: "cluster.regoin == 'x'"}, "undefined field 'regoin'"},
		{v1alpha1.PlacementRule{Where: "cluster.region"}, "gives string"},
		{v1alpha1.PlacementRule{Where: "cluster.region =="}, "where: "},
		{v1alpha1.PlacementRule{Where: "cluster.connection == 'Connected'"}, "undefined field 'connection'"},
		{v1alpha1.PlacementRule{Clusters: "stage in"}, "clusters: "},
	} {
		if _, err := Compile(tc.rule); err == nil || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%+v: %v, want %q", tc.rule, err, tc.says)
		}
	}
}

func TestAnExpensiveConditionIsCutOffForItsRuleAlone(t *testing.T) {
	long := make([]string, 2000)
	for i := range long {
		long[i] = fmt.Sprint("zone-", i)
	}
	c := aCluster("a", func(c *v1alpha1.Cluster) { c.Status.Facts = &v1alpha1.Facts{Zones: long} })
	d := decide(t, Input{Rule: v1alpha1.PlacementRule{Where: "cluster.facts.zones.all(x, cluster.facts.zones.all(y, x != 'q' && y != 'q'))"},
		Project: aProject(), Clusters: []v1alpha1.Cluster{c}})
	if got := d.Why["a"]; got.Reason != WhereFailed || !strings.Contains(got.Message, "cost limit") {
		t.Errorf("got %+v", got)
	}
}

func TestEffectiveRuleOfAnApplication(t *testing.T) {
	named := &v1alpha1.PlacementRule{Clusters: "stage=production", Residency: &v1alpha1.Residency{Jurisdictions: []string{"eu", "us"}}}
	own := v1alpha1.ApplicationPlacement{Ref: "prod"}
	own.Tolerations = []v1alpha1.Toleration{{Key: "gpu"}}
	own.Residency = &v1alpha1.Residency{Jurisdictions: []string{"eu"}, Regions: []string{"eu-west-1"}}
	got, err := Effective(own, named)
	if err != nil {
		t.Fatal(err)
	}
	want := v1alpha1.PlacementRule{
		Clusters: "stage=production", Tolerations: own.Tolerations,
		Residency: &v1alpha1.Residency{Jurisdictions: []string{"eu"}, Regions: []string{"eu-west-1"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	own.Residency = &v1alpha1.Residency{Jurisdictions: []string{"ch"}}
	if _, err := Effective(own, named); err == nil || !strings.Contains(err.Error(), "exclude each other") {
		t.Errorf("two residencies without common ground: %v", err)
	}
	if _, err := Effective(own, nil); err == nil || !strings.Contains(err.Error(), `"prod"`) {
		t.Errorf("a ref to nothing: %v", err)
	}
}

func TestTheCacheTellsRulesApart(t *testing.T) {
	var c Cache
	a, _ := c.Compile(v1alpha1.PlacementRule{Names: []string{"a", "b"}})
	b, _ := c.Compile(v1alpha1.PlacementRule{Names: []string{"a b"}})
	again, _ := c.Compile(v1alpha1.PlacementRule{Names: []string{"a", "b"}})
	if a == b || a != again {
		t.Errorf("a %p, b %p, a again %p", a, b, again)
	}
}

func FuzzCompileWhere(f *testing.F) {
	for _, seed := range []string{"true", "cluster.name == 'a'", "cluster.facts.nodes > 2", "cluster.labels.exists(k, k == 'x')", "[1].map(x, x)", "((((("} {
		f.Add(seed)
	}
	c := aCluster("a")
	f.Fuzz(func(t *testing.T, source string) {
		w, err := compileWhere(source)
		if err == nil {
			w.refuse(&c)
		}
	})
}
