package compliance_test

import (
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"atoll.dev/atoll/internal/compliance"
	"atoll.dev/atoll/internal/compliance/starter"
)

const (
	workloads  = 100_000
	namespaces = 1_000
)

// fleet is as many Deployments as a large fleet has, every tenth of which breaks
// policies, in namespaces that keep to them.
func fleet() []*unstructured.Unstructured {
	var all []*unstructured.Unstructured
	for i := range namespaces {
		all = append(all, &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "v1", "kind": "Namespace",
			"metadata": map[string]any{"name": fmt.Sprintf("team-%d", i), "labels": map[string]any{"cost-center": "1", "pod-security.kubernetes.io/enforce": "baseline"}},
		}})
	}
	for i := range workloads {
		all = append(all, deployment(i))
	}
	return all
}

func deployment(i int) *unstructured.Unstructured {
	image := fmt.Sprintf("registry.example/app-%d:1.%d", i, i%7)
	if i%10 == 0 {
		image = fmt.Sprintf("registry.example/app-%d", i)
	}
	container := func(name, image string) any {
		return map[string]any{
			"name": name, "image": image, "imagePullPolicy": "IfNotPresent",
			"ports":           []any{map[string]any{"containerPort": int64(8080), "protocol": "TCP"}},
			"env":             []any{map[string]any{"name": "A", "value": "b"}, map[string]any{"name": "C", "value": "d"}},
			"resources":       map[string]any{"requests": map[string]any{"cpu": "100m", "memory": "64Mi"}, "limits": map[string]any{"memory": "128Mi"}},
			"securityContext": map[string]any{"allowPrivilegeEscalation": false, "capabilities": map[string]any{"drop": []any{"ALL"}}},
			"readinessProbe":  map[string]any{"httpGet": map[string]any{"path": "/", "port": int64(8080), "scheme": "HTTP"}},
		}
	}
	labels := map[string]any{"app": fmt.Sprintf("app-%d", i)}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apps/v1", "kind": "Deployment",
		"metadata": map[string]any{"name": fmt.Sprintf("app-%d", i), "namespace": fmt.Sprintf("team-%d", i%namespaces), "labels": labels},
		"spec": map[string]any{
			"replicas": int64(2), "selector": map[string]any{"matchLabels": labels},
			"template": map[string]any{"metadata": map[string]any{"labels": labels}, "spec": map[string]any{
				"containers": []any{container("main", image), container("proxy", "registry.example/proxy:2.1")},
				"volumes":    []any{map[string]any{"name": "tmp", "emptyDir": map[string]any{}}},
			}},
		},
	}}
}

// BenchmarkAFleetOfWorkloads judges 100,000 workloads by the whole starter set.
func BenchmarkAFleetOfWorkloads(b *testing.B) {
	set, err := compliance.Compile(starter.Objects(true))
	if err != nil {
		b.Fatal(err)
	}
	all := fleet()
	b.ReportAllocs()
	for b.Loop() {
		r, err := set.Check(b.Context(), all, compliance.Options{Facts: true, Now: time.Unix(0, 0)})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(len(r.Violations)), "violations")
	}
	b.ReportMetric(float64(b.Elapsed().Seconds())/float64(b.N), "s/fleet")
}
