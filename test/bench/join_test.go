package bench_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/bench"
	"atoll.dev/atoll/internal/sandbox"
	"atoll.dev/atoll/internal/testfleet"
)

const (
	joinFigure = "join-10"
	joining    = 10
)

// served is what each cluster is to serve; it is alone with its own namespace.
var served = []string{
	`{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {replicas: 1, selector: {matchLabels: {app: web}},
	  template: {metadata: {labels: {app: web}}, spec: {containers: [{name: web, image: "web:1", ports: [{containerPort: 8080}]}]}}}}`,
	`{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {type: LoadBalancer, selector: {app: web}, ports: [{port: 8080}]}}`,
}

// TestFiguresOfJoining measures on ten clusters of its own that run, and that
// no hub knows.
func TestFiguresOfJoining(t *testing.T) {
	if !chosen(joinFigure) {
		t.Skipf("set %s to %s to measure", which, joinFigure)
	}
	o := testfleet.Options{Heartbeat: heartbeat}
	for i := range joining {
		o.Clusters = append(o.Clusters, testfleet.Cluster{Spec: sandbox.ClusterSpec{Name: fmt.Sprintf("m%d", i+1)}, Mode: testfleet.Alone})
	}
	b := &bed{t: t, fleet: testfleet.Start(t, o), machine: bench.ThisMachine()}
	for _, m := range b.fleet.Members() {
		b.members = append(b.members, b.member(m))
	}
	b.in(t, joiningFigure.measure)
}

// join is from the command that joins ten clusters to the answer of a pod in
// the last of them, which an Application that was there before wants. The
// limit is from applying the same objects to all ten at once.
func join(b *bed) {
	ctx := b.t.Context()
	b.must(b.fleet.Hub.Client().Create(ctx, &v1alpha1.Project{ObjectMeta: metav1.ObjectMeta{Name: project}}))
	testfleet.Eventually(b.t, "the namespace of the project", func(ctx context.Context) error {
		return b.fleet.Hub.Client().Get(ctx, client.ObjectKey{Name: project}, &corev1.Namespace{})
	})
	b.deploy("web", served[0]+"\n---\n"+served[1])
	contexts := b.contexts()

	began := time.Now()
	b.fleet.Hub.MustCLI("join", "--contexts", "prod-*", "--contexts-from", contexts, "--owner", "platform",
		"--label", label, "--image", "atoll-agent:dev", "--timeout", patience.String())
	connected := time.Since(began)
	b.answers(project)
	ours := time.Since(began)

	began = time.Now()
	var group errgroup.Group
	for _, m := range b.members {
		group.Go(func() error { return applyServed(ctx, m) })
	}
	b.must(group.Wait())
	b.answers(rawSpace)
	limit := time.Since(began)
	b.report(bench.Result{
		Name: joinFigure, Value: ours.Seconds(), Unit: "s", Limit: limit.Seconds(), Aim: "< 60 s",
		Notes: map[string]float64{"clusters": joining, "connected": connected.Seconds()},
	})
	b.hubMemory("hub-memory-10")
}

func applyServed(ctx context.Context, m *member) error {
	if err := m.Client().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: rawSpace}}); err != nil {
		return err
	}
	for _, text := range served {
		o := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(text), o); err != nil {
			return err
		}
		o.SetNamespace(rawSpace)
		if err := m.Client().Apply(ctx, client.ApplyConfigurationFromUnstructured(o), client.FieldOwner("raw")); err != nil {
			return err
		}
	}
	return nil
}

// answers waits until a pod of every cluster answers through its Service.
func (b *bed) answers(namespace string) {
	b.t.Helper()
	for _, m := range b.members {
		testfleet.Eventually(b.t, m.Name+" serves", func(ctx context.Context) error { return answersIn(ctx, m, namespace) })
	}
}

func answersIn(ctx context.Context, m *member, namespace string) error {
	web := &corev1.Service{}
	if err := m.Client().Get(ctx, client.ObjectKey{Namespace: namespace, Name: "web"}, web); err != nil {
		return err
	}
	if len(web.Status.LoadBalancer.Ingress) == 0 {
		return errors.New("its Service has no address")
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://%s:8080/", web.Status.LoadBalancer.Ingress[0].IP), nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	var answer struct{ Cluster, Namespace string }
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return err
	}
	if answer.Cluster != m.Name || answer.Namespace != namespace {
		return fmt.Errorf("%+v answers", answer)
	}
	return nil
}

// contexts is a kubeconfig with a context prod-NAME for each cluster.
func (b *bed) contexts() string {
	b.t.Helper()
	out := api.NewConfig()
	for _, m := range b.members {
		cfg, name := m.Config(), "prod-"+m.Name
		out.Clusters[name] = &api.Cluster{Server: cfg.Host, CertificateAuthorityData: cfg.CAData}
		out.AuthInfos[name] = &api.AuthInfo{Token: cfg.BearerToken, ClientCertificateData: cfg.CertData, ClientKeyData: cfg.KeyData}
		out.Contexts[name] = &api.Context{Cluster: name, AuthInfo: name}
	}
	path := filepath.Join(b.t.TempDir(), "contexts.kubeconfig")
	b.must(clientcmd.WriteToFile(*out, path))
	return path
}
