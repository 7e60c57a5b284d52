package recovery_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/recovery"
)

// lost is a hub as it was: one project, one application, some clusters.
type lost struct {
	project  *v1alpha1.Project
	app      *v1alpha1.Application
	clusters []v1alpha1.Cluster
}

func aCluster(name, region string) v1alpha1.Cluster {
	return v1alpha1.Cluster{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.ClusterSpec{Region: region}}
}

func lostHub(t *rapid.T) lost {
	project := &v1alpha1.Project{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}
	project.Spec.Privileged = rapid.Bool().Draw(t, "privileged")
	project.Spec.ForbidPause = rapid.Bool().Draw(t, "forbid pause")
	if rapid.Bool().Draw(t, "namespaces") {
		project.Spec.Namespaces = []string{"shop", "else-*"}
	}
	if rapid.Bool().Draw(t, "kinds") {
		project.Spec.Kinds = []v1alpha1.GroupKind{{Group: "example.com", Kind: "Ring"}}
	}
	if rapid.Bool().Draw(t, "budget") {
		budget := rapid.Int32Range(0, 20).Draw(t, "objects")
		project.Spec.DeletionBudget = &budget
	}
	app := &v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "old", Generation: 7}}
	app.Spec.OnDelete = rapid.SampledFrom([]v1alpha1.DeletionPolicy{"", v1alpha1.Orphan, v1alpha1.Delete}).Draw(t, "on delete")
	app.Spec.Drift.Mode = rapid.SampledFrom([]v1alpha1.DriftMode{"", v1alpha1.DriftReport}).Draw(t, "drift")
	app.Spec.Adopt = rapid.Bool().Draw(t, "adopt")
	if rapid.Bool().Draw(t, "own namespace") {
		app.Spec.Namespace = "shop-own"
	}
	if rapid.Bool().Draw(t, "rules") {
		app.Spec.Drift.Ignore = []v1alpha1.FieldRule{{Kind: "Deployment", Paths: []string{"spec.replicas"}}}
		app.Spec.Health = []v1alpha1.HealthRule{{Kind: "Ring", Healthy: "true"}}
	}
	if rapid.Bool().Draw(t, "depends") {
		app.Spec.DependsOn = []v1alpha1.Dependency{{Application: "api"}}
	}
	if app.Spec.LateBinding = rapid.Bool().Draw(t, "late binding"); app.Spec.LateBinding {
		app.Spec.Variables = map[string]string{"color": rapid.SampledFrom([]string{"red", "blue"}).Draw(t, "color")}
	}
	l := lost{project: project, app: app}
	for i := range rapid.IntRange(1, 4).Draw(t, "clusters") {
		l.clusters = append(l.clusters, aCluster(fmt.Sprint("c", i), "eu"))
	}
	return l
}

const manifests = desired.Digest("sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")

func (l lost) entry(i int) desired.Entry {
	return desired.Build(l.app, l.project, &l.clusters[i], manifests)
}

func remembers(cluster string, e desired.Entry) recovery.Memory {
	return recovery.Memory{Cluster: cluster, Applications: []recovery.Running{{
		Key: e.Key, UID: e.UID, After: e.After, Revision: e.Revision, Content: e.Content, Namespace: e.Namespace, Policy: e.Policy,
		LateBinding: e.Bindings != nil, Bindings: e.Bindings, Withdrawn: e.Withdrawn,
	}}}
}

// What is made asks of each cluster exactly what it runs: anything else would
// change it when it follows.
func TestWhatIsMadeAsksForWhatRuns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := lostHub(t)
		var memories []recovery.Memory
		for i := range l.clusters {
			memories = append(memories, remembers(l.clusters[i].Name, l.entry(i)))
		}
		plan := recovery.Make(memories, recovery.Known{Clusters: l.clusters}, "")
		if !plan.Complete() || len(plan.Projects) != 1 || len(plan.Applications) != 1 || plan.Applications[0].Object == nil {
			t.Fatalf("the plan is %+v", plan)
		}
		app, project := plan.Applications[0].Object, plan.Projects[0].Object
		if app.Spec.OnDelete != v1alpha1.Orphan {
			t.Errorf("it would delete: %s", app.Spec.OnDelete)
		}
		for i := range l.clusters {
			if !slices.Contains(app.Spec.Placement.Names, l.clusters[i].Name) {
				t.Errorf("%s is not placed: %v", l.clusters[i].Name, app.Spec.Placement.Names)
			}
			was := l.entry(i)
			now := desired.Build(app, project, &l.clusters[i], desired.Digest(app.Spec.Source.Content.Digest))
			if now.Continues != was.UID {
				t.Errorf("it continues %q, not %q", now.Continues, was.UID)
			}
			now.UID, now.Continues, now.Generation, now.Policy.OnDelete = was.UID, "", was.Generation, was.Policy.OnDelete
			if diff := cmp.Diff(was, now, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s would be asked for something else:\n%s", l.clusters[i].Name, diff)
			}
		}
	})
}

// two are clusters that run the same, the second as changed.
func two(change func(*desired.Entry)) ([]recovery.Memory, recovery.Known) {
	l := lost{
		project:  &v1alpha1.Project{ObjectMeta: metav1.ObjectMeta{Name: "shop"}},
		app:      &v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "old"}},
		clusters: []v1alpha1.Cluster{aCluster("a", "eu"), aCluster("b", "eu")},
	}
	other := l.entry(1)
	change(&other)
	return []recovery.Memory{remembers("a", l.entry(0)), remembers("b", other)}, recovery.Known{Clusters: l.clusters}
}

func TestWhereClustersDisagreeNothingIsMadeUnlessOneIsPreferred(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*desired.Entry)
		says   string
		want   func(recovery.Plan) bool
	}{
		"another content": {
			func(e *desired.Entry) { e.Content, e.Revision = desired.Sum([]byte("other")), "web-other" }, "web-other",
			func(p recovery.Plan) bool { return p.Applications[0].Content() == desired.Sum([]byte("other")) },
		},
		"another namespace": {
			func(e *desired.Entry) { e.Namespace = "shop-other" }, "shop-other",
			func(p recovery.Plan) bool { return p.Applications[0].Object.Spec.Namespace == "shop-other" },
		},
		"another setting": {
			func(e *desired.Entry) { e.Policy.DriftMode = v1alpha1.DriftReport }, "settings",
			func(p recovery.Plan) bool { return p.Applications[0].Object.Spec.Drift.Mode == v1alpha1.DriftReport },
		},
		"more rights of the project": {
			func(e *desired.Entry) { e.Policy.Privileged = true }, "privileged",
			func(p recovery.Plan) bool { return p.Projects[0].Object.Spec.Privileged },
		},
	} {
		t.Run(name, func(t *testing.T) {
			memories, known := two(tt.change)
			plan := recovery.Make(memories, known, "")
			if said := fmt.Sprint(plan.Projects, plan.Applications); plan.Complete() || plan.Applications[0].Object != nil || !strings.Contains(said, tt.says) {
				t.Errorf("without a preference: %s", said)
			}
			plan = recovery.Make(memories, known, "b")
			if !plan.Complete() || plan.Applications[0].Object == nil || !tt.want(plan) {
				t.Fatalf("preferring b: %+v", plan)
			}
			if notes := strings.Join(plan.Projects[0].Notes, "; "); !strings.Contains(notes, "b: namespaces shop") || strings.Contains(notes, "privileged") != plan.Projects[0].Object.Spec.Privileged {
				t.Errorf("whose word the bounds of the project are: %q", notes)
			}
			if names := plan.Applications[0].Object.Spec.Placement.Names; !slices.Equal(names, []string{"a", "b"}) {
				t.Errorf("it is for %v", names)
			}
		})
	}
}

func TestWhatIsKnownStaysAndIsOnlyWidened(t *testing.T) {
	memories, known := two(func(*desired.Entry) {})
	made := recovery.Make(memories[:1], known, "")
	known.Projects = append(known.Projects, *made.Projects[0].Object)
	known.Applications = append(known.Applications, *made.Applications[0].Object)

	later := recovery.Make(memories, known, "")
	if p := later.Projects[0]; !p.Known || p.Object != nil {
		t.Errorf("the project is made again: %+v", p)
	}
	if a := later.Applications[0]; a.Object == nil || a.Object.Annotations[v1alpha1.AnnotationContinues] != known.Applications[0].Annotations[v1alpha1.AnnotationContinues] || !slices.Equal(a.Object.Spec.Placement.Names, []string{"a", "b"}) {
		t.Errorf("a cluster that came later is not added: %+v", a)
	}
	known.Applications[0].Spec.Source = v1alpha1.Source{Inline: "of a person"}
	if a := recovery.Make(memories, known, "").Applications[0]; !a.Known || a.Object != nil {
		t.Errorf("what a person made is changed: %+v", a)
	}
}

func TestWhatWasWithdrawnIsNotAskedForAgain(t *testing.T) {
	memories, known := two(func(e *desired.Entry) { e.Withdrawn = true })
	plan := recovery.Make(memories, known, "")
	if a := plan.Applications[0]; a.Object == nil || !slices.Equal(a.Object.Spec.Placement.Names, []string{"a"}) || len(a.Notes) != 1 {
		t.Errorf("one let go: %+v", a)
	}
	memories[0].Applications[0].Withdrawn = true
	if plan = recovery.Make(memories, known, ""); len(plan.Projects) != 0 || plan.Applications[0].Object != nil || !plan.Complete() {
		t.Errorf("both let go: %+v", plan)
	}
}

// A label that was lost with the store would change what runs.
func TestLateBindingWaitsUntilClustersHaveTheirValuesAgain(t *testing.T) {
	l := lost{
		project:  &v1alpha1.Project{ObjectMeta: metav1.ObjectMeta{Name: "shop"}},
		app:      &v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}},
		clusters: []v1alpha1.Cluster{aCluster("a", "eu")},
	}
	l.app.Spec.LateBinding = true
	l.clusters[0].Labels = map[string]string{"stage": "production"}
	memories := []recovery.Memory{remembers("a", l.entry(0))}
	taken := recovery.Known{Clusters: []v1alpha1.Cluster{aCluster("a", "")}}
	a := recovery.Make(memories, taken, "").Applications[0]
	said := strings.Join(a.Problems, "\n")
	if a.Object != nil || !strings.Contains(said, "label cluster a with stage=production") || !strings.Contains(said, "set spec.region of cluster a to eu") {
		t.Errorf("made %v, said %s", a.Object, said)
	}
	if a := recovery.Make(memories, recovery.Known{Clusters: l.clusters}, "").Applications[0]; a.Object == nil {
		t.Errorf("with the values back: %+v", a)
	}
}

// It is true of clusters that come later as of those that came first.
func TestAClusterThatComesLaterWaitsUntilItHasItsValuesAgain(t *testing.T) {
	l := lost{
		project:  &v1alpha1.Project{ObjectMeta: metav1.ObjectMeta{Name: "shop"}},
		app:      &v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}},
		clusters: []v1alpha1.Cluster{aCluster("a", "eu"), aCluster("b", "us")},
	}
	l.app.Spec.LateBinding = true
	memories := []recovery.Memory{remembers("a", l.entry(0)), remembers("b", l.entry(1))}
	known := recovery.Known{Clusters: []v1alpha1.Cluster{aCluster("a", "eu"), aCluster("b", "")}}
	known.Applications = append(known.Applications, *recovery.Make(memories[:1], known, "").Applications[0].Object)
	a := recovery.Make(memories, known, "").Applications[0]
	if said := strings.Join(a.Problems, "\n"); a.Object != nil || !strings.Contains(said, "set spec.region of cluster b to us") || strings.Contains(said, "cluster a") {
		t.Errorf("made %v, said %s", a.Object, said)
	}
	known.Clusters = l.clusters
	memories[0].Applications[0].Missing = "it has not arrived"
	if a = recovery.Make(memories, known, "").Applications[0]; a.Object == nil || a.From != "b" || !slices.Equal(a.Object.Spec.Placement.Names, []string{"a", "b"}) {
		t.Errorf("with the value back: %+v", a)
	}
}

func TestContentComesFromAnAgentThatHasIt(t *testing.T) {
	memories, known := two(func(*desired.Entry) {})
	memories[0].Applications[0].Missing = "it has not arrived"
	if a := recovery.Make(memories, known, "").Applications[0]; a.From != "b" {
		t.Errorf("it is taken from %q", a.From)
	}
	memories[1].Applications[0].Missing = "it has not arrived"
	if plan := recovery.Make(memories, known, ""); plan.Complete() || plan.Applications[0].Object != nil {
		t.Errorf("nobody has it: %+v", plan)
	}
}
