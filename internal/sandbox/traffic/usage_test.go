package traffic_test

import (
	"context"
	"fmt"
	"testing"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	metrics "k8s.io/metrics/pkg/client/clientset/versioned"
)

const scaler = `
metadata: {name: web}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  minReplicas: 3
  maxReplicas: 4
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}]
  behavior: {scaleDown: {stabilizationWindowSeconds: 0}}`

// scaleByUsage asks as `kubectl top` does, and lets a scaler act on it.
func scaleByUsage(t *testing.T, config *rest.Config, client kubernetes.Interface, url string) {
	config = rest.CopyConfig(config)
	config.ContentType = "application/vnd.kubernetes.protobuf"
	usage, err := metrics.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	// cpuOf is the sum over the pods, in thousandths of a core.
	cpuOf := func(ctx context.Context) (int64, error) {
		pods, err := usage.MetricsV1beta1().PodMetricses("default").List(ctx, metav1.ListOptions{LabelSelector: "app=web"})
		if err != nil {
			return 0, err
		}
		if len(pods.Items) < 3 {
			return 0, fmt.Errorf("the usage of %d pods is known", len(pods.Items))
		}
		var sum int64
		for _, pod := range pods.Items {
			sum += pod.Containers[0].Usage.Cpu().MilliValue()
		}
		return sum, nil
	}
	eventually(t, "idle pods use a twentieth of what they request", func(ctx context.Context) error {
		if cpu, err := cpuOf(ctx); err != nil || cpu != 3*5 {
			return fmt.Errorf("they use %dm: %v", cpu, err)
		}
		return nil
	})
	if _, err := client.AutoscalingV2().HorizontalPodAutoscalers("default").Create(t.Context(), parse[autoscalingv2.HorizontalPodAutoscaler](t, scaler), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	replicas := func(want int32) func(context.Context) error {
		return func(ctx context.Context) error {
			d, err := client.AppsV1().Deployments("default").Get(ctx, "web", metav1.GetOptions{})
			if err == nil && d.Status.ReadyReplicas != want {
				err = fmt.Errorf("%d replicas, want %d", d.Status.ReadyReplicas, want)
			}
			return err
		}
	}
	ended := load(t, url)
	eventually(t, "the scaler adds a pod under load", replicas(4))
	if cpu, err := cpuOf(t.Context()); err != nil || cpu < 3*50 {
		t.Errorf("under load the pods use %dm: %v", cpu, err)
	}
	nodes, err := usage.MetricsV1beta1().NodeMetricses().List(t.Context(), metav1.ListOptions{})
	if err != nil || len(nodes.Items) != 2 || nodes.Items[0].Usage.Cpu().IsZero() || nodes.Items[0].Usage.Memory().IsZero() {
		t.Errorf("the nodes use %v: %v", nodes, err)
	}
	ended()
	eventually(t, "the scaler takes it away again", replicas(3))
	if err := client.AutoscalingV2().HorizontalPodAutoscalers("default").Delete(t.Context(), "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
}

// load asks without pause until it is told to end.
func load(t *testing.T, url string) (end func()) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			_, _ = get(ctx, url) // what is lost under load is another test's matter
		}
	}()
	return func() {
		cancel()
		<-ended
	}
}
