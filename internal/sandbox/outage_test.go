package sandbox_test

import (
	"context"
	"fmt"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"atoll.dev/atoll/internal/sandbox"
)

// A kubelet whose write was lost with the API server says it again; a pod that
// it gave up would stay for ever as it was.
func TestPodsThatWereUnderWayOutliveTheAPIServer(t *testing.T) {
	cluster := sandbox.Start(t, "a").Cluster("a")
	client := clientOf(t, cluster)
	deployment := object[appsv1.Deployment](t, `
metadata: {name: web}
spec:
  replicas: 0
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: "web:1"}]}`)
	if _, err := client.AppsV1().Deployments("default").Create(t.Context(), deployment, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	const many = 40
	for _, want := range []int{many, 0} {
		scale := fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, want)
		if _, err := client.AppsV1().Deployments("default").Patch(t.Context(), "web", types.MergePatchType, scale, metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
		eventually(t, fmt.Sprintf("some pods are on the way to %d", want), func(ctx context.Context) error {
			ready, all, err := countPods(ctx, client)
			if err == nil && ((want > 0 && ready == 0) || (want == 0 && all == many)) {
				err = fmt.Errorf("%d of %d are ready", ready, all)
			}
			return err
		})
		if err := cluster.Kill(sandbox.APIServer); err != nil {
			t.Fatal(err)
		}
		if err := cluster.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		eventually(t, fmt.Sprintf("there are %d pods, all ready", want), func(ctx context.Context) error {
			ready, all, err := countPods(ctx, client)
			if err == nil && (ready != want || all != want) {
				err = fmt.Errorf("%d of %d are ready", ready, all)
			}
			return err
		})
	}
}

func countPods(ctx context.Context, client kubernetes.Interface) (isReady, all int, err error) {
	pods, err := client.CoreV1().Pods("default").List(ctx, metav1.ListOptions{})
	if err != nil {
		return 0, 0, err
	}
	for i := range pods.Items {
		if ready(&pods.Items[i]) {
			isReady++
		}
	}
	return isReady, len(pods.Items), nil
}
