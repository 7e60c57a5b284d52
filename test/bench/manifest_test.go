package bench_test

import (
	"context"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"
)

// changeKey is the annotation that numbers the changes of an object.
const changeKey = "bench.atoll.dev/change"

// manifest is a Deployment of the given change. It is paused and has no
// replicas: what the controllers of a member do for it is one status write,
// for both sides alike, so that applying is what is measured. Its image makes
// each change one of the spec.
func manifest(name string, change int) string {
	return fmt.Sprintf(`apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s, annotations: {%[2]s: "%[3]d"}}
spec:
  paused: true
  replicas: 0
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata: {labels: {app: %[1]s}}
    spec: {containers: [{name: web, image: "shop/web:%[3]d", ports: [{containerPort: 8080}]}]}
`, name, changeKey, change)
}

func nameOf(app string, i int) string { return fmt.Sprintf("%s-%03d", app, i) }

// manifests are n Deployments of an application.
func manifests(app string, n, change int) string {
	all := make([]string, 0, n)
	for i := range n {
		all = append(all, manifest(nameOf(app, i), change))
	}
	return strings.Join(all, "---\n")
}

// encoded is the body of an apply request.
func encoded(name string, change int) []byte {
	body, err := yaml.YAMLToJSON([]byte(manifest(name, change)))
	if err != nil {
		panic(err) // the template above is wrong
	}
	return body
}

// apply is the raw way: one server-side apply with the dynamic client.
func (m *member) apply(ctx context.Context, name string, body []byte) error {
	force := true
	_, err := m.objects.Resource(deployments).Namespace(rawSpace).Patch(ctx, name, types.ApplyPatchType, body,
		metav1.PatchOptions{FieldManager: "raw", Force: &force})
	if err != nil {
		return fmt.Errorf("apply %s to %s: %w", name, m.Name, err)
	}
	return nil
}
