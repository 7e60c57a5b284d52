package bench_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/bench"
	"atoll.dev/atoll/internal/testfleet"
)

const (
	clusters = 5
	// project is Atoll's and its namespace in the members; rawSpace is the
	// namespace of what is applied without Atoll.
	project, rawSpace = "bench", "raw"
	// label is every cluster's.
	label = "stage=production"
	// heartbeat is the product's default.
	heartbeat = 10 * time.Second
	// patience bounds each wait; nothing here comes near it.
	patience = 3 * time.Minute
)

var deployments = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}

// bed is the fleet that is measured.
type bed struct {
	t       *testing.T
	fleet   *testfleet.Fleet
	members []*member
	machine bench.Machine
	settled bool
	idle    usage // in a second; zero until throughput measures it
}

// member is one cluster, by clients that never wait for themselves.
type member struct {
	*testfleet.Member
	objects  dynamic.Interface
	metadata metadata.Interface
}

func newBed(t *testing.T) *bed {
	o := testfleet.Options{Heartbeat: heartbeat}
	for i := range clusters {
		o.Clusters = append(o.Clusters, testfleet.Named(fmt.Sprintf("m%d", i+1), label))
	}
	b := &bed{t: t, fleet: testfleet.Start(t, o), machine: bench.ThisMachine()}
	for _, m := range b.fleet.Members() {
		b.members = append(b.members, b.member(m))
	}
	return b
}

func (b *bed) member(m *testfleet.Member) *member {
	cfg := m.Config()
	cfg.QPS = -1
	objects, err := dynamic.NewForConfig(cfg)
	b.must(err)
	meta, err := metadata.NewForConfig(rest.CopyConfig(cfg))
	b.must(err)
	return &member{Member: m, objects: objects, metadata: meta}
}

// in measures as part of a subtest.
func (b *bed) in(t *testing.T, measure func(*bed)) {
	outer, began := b.t, time.Now()
	b.t = t
	defer func() { b.t = outer }()
	measure(b)
	t.Logf("measured in %.0f s", time.Since(began).Seconds())
}

func (b *bed) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// settle makes the project and both namespaces exist, so that neither side
// pays for them, and waits until a first delivery is everywhere. What failed
// is tried again by the next figure.
func (b *bed) settle() {
	b.t.Helper()
	if b.settled {
		return
	}
	ctx := b.t.Context()
	b.exists(b.fleet.Hub.Client(), &v1alpha1.Project{ObjectMeta: metav1.ObjectMeta{Name: project}})
	testfleet.Eventually(b.t, "the namespace of the project", func(ctx context.Context) error {
		return b.fleet.Hub.Client().Get(ctx, client.ObjectKey{Name: project}, &corev1.Namespace{})
	})
	for _, m := range b.members {
		b.exists(m.Client(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: rawSpace}})
	}
	seen := b.watch(project)
	defer seen.end()
	b.must(client.IgnoreAlreadyExists(b.create(ctx, "first", manifests("first", 1, 0))))
	seen.await(func(s *sights) bool { return s.everywhere("first-", 1, 0) })
	b.settled = true
}

func (b *bed) exists(c client.Client, o client.Object) {
	b.t.Helper()
	b.must(client.IgnoreAlreadyExists(c.Create(b.t.Context(), o)))
}

// deploy creates an application for all clusters.
func (b *bed) deploy(name, inline string) {
	b.t.Helper()
	b.must(b.create(b.t.Context(), name, inline))
}

func (b *bed) create(ctx context.Context, name, inline string) error {
	app := &v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{Namespace: project, Name: name}}
	app.Spec.Source.Inline = inline
	app.Spec.Namespace = project
	app.Spec.Placement = &v1alpha1.ApplicationPlacement{PlacementRule: v1alpha1.PlacementRule{Clusters: label}}
	return b.fleet.Hub.Client().Create(ctx, app)
}

// change gives an application another source.
func (b *bed) change(ctx context.Context, name, inline string) error {
	before := &v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{Namespace: project, Name: name}}
	after := before.DeepCopy()
	after.Spec.Source.Inline = inline
	return b.fleet.Hub.Client().Patch(ctx, after, client.MergeFrom(before))
}

// report keeps a result, and writes it.
func (b *bed) report(r bench.Result) {
	b.t.Helper()
	r.Date, r.Machine = time.Now().UTC(), b.machine
	r = r.Complete()
	reported = append(reported, r)
	b.must(bench.Write(resultsDir, r))
	b.t.Logf("%s: %g %s, raw %g, ratio %g", r.Name, r.Value, r.Unit, r.Limit, r.Ratio)
}

// size is usual, or less where BENCH_QUICK is set.
func size(usual, less int) int {
	if os.Getenv(quick) != "" {
		return less
	}
	return usual
}

func chosen(name string) bool { return named(name) || named("all") }

func named(name string) bool { return slices.Contains(strings.Split(os.Getenv(which), ","), name) }
