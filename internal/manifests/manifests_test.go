package manifests_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/manifests"
	"atoll.dev/atoll/internal/render"
	"atoll.dev/atoll/internal/render/class"
	"atoll.dev/atoll/internal/render/tree"
	"atoll.dev/atoll/internal/render/worker"
	"atoll.dev/atoll/internal/source"
	"atoll.dev/atoll/internal/valuesfrom"
)

// hub is what a hub knows: one project, its clusters, and a Placement for all of them.
type hub struct{ clusters []v1alpha1.Cluster }

func (h *hub) Get(_ context.Context, key client.ObjectKey, o client.Object, _ ...client.GetOption) error {
	if p, ok := o.(*v1alpha1.Project); ok {
		p.Name = key.Name
		return nil
	}
	if p, ok := o.(*v1alpha1.Placement); ok && key == (client.ObjectKey{Name: "everywhere"}) {
		p.Spec.Clusters = "stage"
		return nil
	}
	return apierrors.NewNotFound(schema.GroupResource{}, key.Name)
}

func (h *hub) List(_ context.Context, list client.ObjectList, _ ...client.ListOption) error {
	list.(*v1alpha1.ClusterList).Items = append([]v1alpha1.Cluster{}, h.clusters...)
	return nil
}

func (h *hub) cluster(name, version string, served ...string) {
	c := v1alpha1.Cluster{ObjectMeta: metav1.ObjectMeta{Name: name}}
	c.Status.Facts = &v1alpha1.Facts{KubernetesVersion: version, APIGroups: served}
	h.clusters = append(h.clusters, c)
}

// inProcess renders here and counts.
type inProcess struct {
	renders int
	fault   error
}

func (w *inProcess) Render(_ context.Context, dir string, in render.Inputs) (render.Output, error) {
	if w.fault != nil {
		return render.Output{}, w.fault
	}
	w.renders++
	files, end, err := tree.Open(dir)
	if err != nil {
		return render.Output{}, err
	}
	defer end()
	return render.Render(files, in)
}

// chart is a fetched chart with one template.
func chart(t *testing.T, template string) source.Snapshot {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"web/Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.2.3\nappVersion: v7\n", "web/templates/a.yaml": template, "env/eu.yaml": "tier: gold\n",
	} {
		full := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(full), 0o700), os.WriteFile(full, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	return source.Snapshot{Dir: dir, Path: "web"}
}

// placed is an application on the named clusters.
func placed(names ...string) *v1alpha1.Application {
	app := &v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}}
	app.Status.Clusters = names
	return app
}

func TestManyClustersOfOneKindAreOneRender(t *testing.T) {
	known, workers := &hub{}, &inProcess{}
	for n := range 200 {
		known.cluster(string(rune('a'+n%26))+strings.Repeat("x", n/26), []string{"v1.33.1", "v1.33.9"}[n%2], "example.com/v1")
	}
	var names []string
	for _, c := range known.clusters {
		names = append(names, c.Name)
	}
	r := &manifests.Renderer{Client: known, Workers: workers, Kubernetes: "v1.36.0"}
	app, source := placed(names...), chart(t, "minor: {{ .Capabilities.KubeVersion.Minor }}\nserved: {{ .Capabilities.APIVersions.Has \"example.com/v1\" }}\n")
	m, err := r.Render(t.Context(), app, source, valuesfrom.Values{})
	if err != nil {
		t.Fatal(err)
	}
	if workers.renders != 1 || m.Renders != 1 || m.Chart != "web 1.2.3 (v7)" || !strings.Contains(string(m.Files[0].Data), "minor: 33\nserved: true") {
		t.Errorf("%d renders gave %+v: %s", workers.renders, m, m.Files[0].Data)
	}
	if now, err := r.Fleet(t.Context(), app); err != nil || now != m.Fleet || now == "" {
		t.Errorf("rendered for %q, and the clusters are %q (%v)", m.Fleet, now, err)
	}
	known.clusters[7].Status.Facts.KubernetesVersion = "v1.34.0"
	if now, _ := r.Fleet(t.Context(), app); now == m.Fleet {
		t.Error("an upgraded cluster is no reason to render again")
	}
}

func TestClustersThatAnswerDifferentlyGetTheirOwn(t *testing.T) {
	known := &hub{}
	known.cluster("old", "v1.29.4")
	known.cluster("new", "v1.33.4")
	known.cluster("newer", "v1.34.1")
	known.cluster("elsewhere", "v1.20.0")
	known.clusters = append(known.clusters, v1alpha1.Cluster{ObjectMeta: metav1.ObjectMeta{Name: "silent"}})
	r := &manifests.Renderer{Client: known, Workers: &inProcess{}, Kubernetes: "v1.36.0"}
	app := placed("new", "newer", "old", "silent")
	m, err := r.Render(t.Context(), app, chart(t, "a: {{ semverCompare \">=1.30-0\" .Capabilities.KubeVersion.Version }}\n"), valuesfrom.Values{})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for i := range known.clusters {
		answers, ok := class.Of(&known.clusters[i], nil)
		for _, v := range m.Variants {
			if ok && class.Answers(v.Asked, answers) {
				got[known.clusters[i].Name] += strings.TrimSpace(string(v.Files[0].Data))
			}
		}
	}
	want := map[string]string{"new": "a: true", "newer": "a: true", "old": "a: false"}
	if diff := cmp.Diff(want, got); diff != "" || m.Renders != 3 || m.Fleet == "" {
		t.Errorf("%d renders, for clusters like %q: %s", m.Renders, m.Fleet, diff)
	}
	// Both say "true", so it does not matter that they were asked.
	if m, err = r.Render(t.Context(), app, chart(t, "a: {{ semverCompare \">=1.25-0\" .Capabilities.KubeVersion.Version }}\n"), valuesfrom.Values{}); err != nil || m.Variants != nil {
		t.Errorf("what comes out alike is %+v: %v", m.Variants, err)
	}
	m, err = r.Render(t.Context(), app, chart(t, "# {{ lookup \"v1\" \"Secret\" \"a\" \"b\" | len }}\na: b\n"), valuesfrom.Values{})
	if len(m.Warnings) != 1 {
		t.Errorf("warnings %q tell nothing of lookup", m.Warnings)
	}
	if err != nil || m.Fleet != "" {
		t.Errorf("a chart that asks nothing is for clusters like %q (%v)", m.Fleet, err)
	}
}

// A cluster that is upgraded mends it, and not only another commit.
func TestAChartThatWantsOtherClustersIsTriedAgain(t *testing.T) {
	known := &hub{}
	known.cluster("old", "v1.29.4")
	r := &manifests.Renderer{Client: known, Workers: &inProcess{}, Kubernetes: "v1.36.0"}
	s := chart(t, "a: b\n")
	if err := os.WriteFile(filepath.Join(s.Dir, "web/Chart.yaml"), []byte("apiVersion: v2\nname: web\nversion: 1.2.3\nkubeVersion: '>=1.30'\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := r.Render(t.Context(), placed("old"), s, valuesfrom.Values{})
	var failure *source.Failure
	if !errors.As(err, &failure) || failure.Reason != manifests.ClustersUnfit || failure.Lasting || !strings.Contains(err.Error(), "cluster old: chart web: needs Kubernetes >=1.30") {
		t.Errorf("got %v", err)
	}
	known.clusters[0].Status.Facts.KubernetesVersion = "v1.31.0"
	if _, err := r.Render(t.Context(), placed("old"), s, valuesfrom.Values{}); err != nil {
		t.Error(err)
	}
}

func TestWhatAnApplicationSaysOfItsChart(t *testing.T) {
	app := placed()
	app.Spec.Source.Helm = &v1alpha1.HelmOptions{
		ReleaseName: "other", ValuesFiles: []string{"../env/eu.yaml"}, Values: &runtime.RawExtension{Raw: []byte(`{"n":7}`)}, APIVersions: []string{"example.com/v1"},
	}
	r := &manifests.Renderer{Client: &hub{}, Workers: &inProcess{}, Kubernetes: "v1.36.0"}
	m, err := r.Render(t.Context(), app, chart(t, "{{ .Release.Name }} {{ .Release.Namespace }} {{ .Values.tier }} {{ .Values.n }} {{ .Capabilities.APIVersions.Has \"example.com/v1\" }} {{ .Capabilities.KubeVersion.Minor }}"), valuesfrom.Values{})
	if err != nil || strings.TrimSpace(string(m.Files[0].Data)) != "other shop gold 7 true 36" {
		t.Errorf("got %+v, %v", m, err)
	}
	app.Spec.Source.Helm = nil
	app.Spec.Source.Kustomize = &v1alpha1.KustomizeOptions{}
	if _, err := r.Render(t.Context(), app, chart(t, "a: b"), valuesfrom.Values{}); err == nil || !strings.Contains(err.Error(), "kustomization") {
		t.Errorf("a chart was built as a kustomization: %v", err)
	}
}

func TestValuesOfOverridesAreARenderOfTheirOwn(t *testing.T) {
	known, workers := &hub{}, &inProcess{}
	for n := range 200 {
		known.cluster(fmt.Sprint("c", n), "v1.33.1")
		known.clusters[n].Labels = map[string]string{"stage": []string{"staging", "production"}[n%2]}
	}
	r := &manifests.Renderer{Client: known, Workers: workers, Kubernetes: "v1.36.0"}
	app := placed()
	for _, c := range known.clusters {
		app.Status.Clusters = append(app.Status.Clusters, c.Name)
	}
	app.Spec.Source.Helm = &v1alpha1.HelmOptions{Values: &runtime.RawExtension{Raw: []byte(`{"web":{"replicas":1,"tier":"plain"}}`)}}
	app.Spec.Overrides = []v1alpha1.Override{
		{Clusters: "stage", Replicas: []v1alpha1.ReplicaOverride{{Name: "web", Count: 2}}},
		{Clusters: "stage=production", Values: &runtime.RawExtension{Raw: []byte(`{"web":{"replicas":6}}`)}},
	}
	m, err := r.Render(t.Context(), app, chart(t, "{{ .Values.web.replicas }} {{ .Values.web.tier }}"), valuesfrom.Values{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, v := range m.Variants {
		got = append(got, fmt.Sprint(v.Overrides, " ", strings.TrimSpace(string(v.Files[0].Data))))
	}
	if diff := cmp.Diff([]string{"[] 1 plain", "[1] 6 plain"}, got); diff != "" || workers.renders != 2 || m.Renders != 2 {
		t.Errorf("%d renders: %s", workers.renders, diff)
	}
	known.clusters[0].Labels["stage"] = "production"
	if now, err := r.Fleet(t.Context(), app); err != nil || now != m.Fleet {
		t.Errorf("a cluster of a known class is a reason to render again: %v", err)
	}
	app.Spec.Overrides[1].Clusters = "tier"
	if now, _ := r.Fleet(t.Context(), app); now == m.Fleet {
		t.Error("another selector is no reason to render again")
	}
	app.Spec.Overrides[1].Clusters = "in ("
	if _, err := r.Render(t.Context(), app, chart(t, "a: b"), valuesfrom.Values{}); err == nil || !strings.Contains(err.Error(), "spec.overrides[1].clusters") {
		t.Errorf("a selector that is none: %v", err)
	}
}

// A cluster of production that joins must not run what staging was rendered to
// until the next look.
func TestValuesOfOverridesTellClustersApartThatAreYetToCome(t *testing.T) {
	known := &hub{}
	known.cluster("old", "v1.29.4")
	known.cluster("new", "v1.33.1")
	for i := range known.clusters {
		known.clusters[i].Labels = map[string]string{"stage": "staging"}
	}
	r := &manifests.Renderer{Client: known, Workers: &inProcess{}, Kubernetes: "v1.36.0"}
	app := placed("old", "new")
	app.Spec.Overrides = []v1alpha1.Override{{Clusters: "stage=production", Values: &runtime.RawExtension{Raw: []byte(`{"tier":"gold"}`)}}}
	m, err := r.Render(t.Context(), app, chart(t, "a: {{ .Values.tier }} {{ semverCompare \">=1.25-0\" .Capabilities.KubeVersion.Version }}\n"), valuesfrom.Values{})
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Variants) != 1 || len(m.Variants[0].Overrides)+len(m.Variants[0].Asked) > 0 || m.Renders != 2 {
		t.Errorf("%d renders, for clusters that match: %+v", m.Renders, m.Variants)
	}
}

// What an application adds to a named placement decides with it for whom it is rendered.
func TestItIsRenderedForWhomItsPlacementChooses(t *testing.T) {
	known := &hub{}
	known.cluster("tainted", "v1.29.4")
	known.clusters[0].Labels = map[string]string{"stage": "staging"}
	known.clusters[0].Spec.Accepted, known.clusters[0].Status.Identity = true, &v1alpha1.AgentIdentity{}
	known.clusters[0].Spec.Taints = []v1alpha1.Taint{{Key: "edge", Effect: v1alpha1.TaintNoSelect}}
	r := &manifests.Renderer{Client: known, Workers: &inProcess{}, Kubernetes: "v1.36.0"}
	app := placed()
	app.Spec.Placement = &v1alpha1.ApplicationPlacement{Ref: "everywhere"}
	for minor, tolerations := range map[string][]v1alpha1.Toleration{"36": nil, "29": {{Key: "edge"}}} {
		app.Spec.Placement.Tolerations = tolerations
		m, err := r.Render(t.Context(), app, chart(t, "a: {{ .Capabilities.KubeVersion.Minor }}\n"), valuesfrom.Values{})
		if err != nil || strings.TrimSpace(string(m.Files[0].Data)) != "a: "+minor {
			t.Errorf("with %v: %s, %v", tolerations, m.Files, err)
		}
	}
}

func TestWhoseFaultItIs(t *testing.T) {
	var failure *source.Failure
	r := &manifests.Renderer{Client: &hub{}, Workers: &inProcess{}, Kubernetes: "v1.36.0"}
	if _, err := r.Render(t.Context(), placed(), chart(t, "a: {{ uuidv4 }}"), valuesfrom.Values{}); !errors.As(err, &failure) || !failure.Lasting || !strings.Contains(err.Error(), "web/templates/a.yaml:1: uuidv4") {
		t.Errorf("a template that is never the same gave %v", err)
	}
	r.Workers = &inProcess{fault: &worker.Fault{Err: errors.New("no process")}}
	if _, err := r.Render(t.Context(), placed(), chart(t, "a: b"), valuesfrom.Values{}); err == nil || errors.As(err, &failure) {
		t.Errorf("a fault of the hub's is said to be the owner's: %v", err)
	}
}
