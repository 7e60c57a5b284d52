package apply

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// What people and controllers do to a member, for tests.

func (w *world) patchJSON(gvr schema.GroupVersionResource, name, patch string) {
	w.t.Helper()
	_, err := w.client.Resource(gvr).Namespace(w.project).Patch(w.t.Context(), name, types.JSONPatchType, []byte(patch), metav1.PatchOptions{FieldManager: "person"})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) applyRaw(gvr schema.GroupVersionResource, name, manifest string) {
	w.t.Helper()
	body, err := yaml.YAMLToJSON([]byte(w.expand(manifest)))
	if err != nil {
		w.t.Fatal(err)
	}
	force := true
	_, err = w.client.Resource(gvr).Namespace(w.project).Patch(w.t.Context(), name, types.ApplyPatchType, body, metav1.PatchOptions{FieldManager: "person", Force: &force})
	if err != nil {
		w.t.Fatal(err)
	}
}

// scale is what an autoscaler does.
func (w *world) scale(name string, replicas int) {
	w.t.Helper()
	patch := fmt.Sprintf(`{"spec":{"replicas":%d}}`, replicas)
	_, err := w.client.Resource(deployments).Namespace(w.project).Patch(w.t.Context(), name, types.MergePatchType, []byte(patch), metav1.PatchOptions{FieldManager: "autoscaler"}, "scale")
	if err != nil {
		w.t.Fatal(err)
	}
}

func scaler(name string) string {
	return fmt.Sprintf(`---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: %[1]s, namespace: $NS}
spec:
  minReplicas: 1
  maxReplicas: 9
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: %[1]s}
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}]
`, name)
}

func (w *world) annotateNamespace(until string) {
	w.t.Helper()
	patch := fmt.Sprintf(`{"metadata":{"annotations":{"atoll.dev/pause-until":%q}}}`, until)
	_, err := w.client.Resource(namespaces.gvr).Patch(w.t.Context(), w.project, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) engineKnowsPause() {
	w.t.Helper()
	w.eventually("the engine sees the namespace's pause", func() bool {
		w.engine.mu.Lock()
		defer w.engine.mu.Unlock()
		return w.engine.member.pauses[w.project] != nil
	})
}

// settle waits until a person's change was answered, or is held.
func (w *world) settle(ctx context.Context) {
	w.t.Helper()
	deadline := time.Now().Add(time.Second)
	for time.Now().Before(deadline) && ctx.Err() == nil {
		if field(w.get(configs, "settings"), "data", "color") == "blue" {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

var (
	deleteNow = metav1.DeleteOptions{}
	getNow    = metav1.GetOptions{}
)
