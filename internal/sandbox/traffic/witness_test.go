package traffic_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// tellOnFailure makes a failed test say what its cluster believes of the pods
// that should have answered, before anything of it is changed or ended.
func tellOnFailure(t *testing.T, client kubernetes.Interface) {
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		for what, tell := range map[string]func(context.Context, kubernetes.Interface) ([]string, error){
			"nodes": tellNodes, "deployments": tellDeployments, "pods": tellPods, "endpoints": tellEndpoints, "events": tellEvents,
		} {
			lines, err := tell(ctx, client)
			t.Logf("%s (%v):\n  %s", what, err, strings.Join(lines, "\n  "))
		}
	})
}

func tellNodes(ctx context.Context, client kubernetes.Interface) (lines []string, err error) {
	nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	for _, n := range nodes.Items {
		lines = append(lines, fmt.Sprintf("%s: taints %v, conditions %s", n.Name, n.Spec.Taints, nodeConditions(n.Status.Conditions)))
	}
	return lines, nil
}

func nodeConditions(conditions []corev1.NodeCondition) string {
	var words []string
	for _, c := range conditions {
		words = append(words, fmt.Sprintf("%s=%s", c.Type, c.Status))
	}
	return strings.Join(words, " ")
}

// tellDeployments includes who wrote last, since a scaler may have.
func tellDeployments(ctx context.Context, client kubernetes.Interface) (lines []string, err error) {
	deployments, err := client.AppsV1().Deployments("default").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	for _, d := range deployments.Items {
		lines = append(lines, fmt.Sprintf("%s: wants %d, has %d, ready %d", d.Name, *d.Spec.Replicas, d.Status.Replicas, d.Status.ReadyReplicas))
		for _, m := range d.ManagedFields {
			lines = append(lines, fmt.Sprintf("  written by %s %s %s at %s: %s", m.Manager, m.Operation, m.Subresource, m.Time.Format(time.TimeOnly), m.FieldsV1))
		}
	}
	scalers, err := client.AutoscalingV2().HorizontalPodAutoscalers("default").List(ctx, metav1.ListOptions{})
	if err != nil {
		return lines, err
	}
	for _, s := range scalers.Items {
		lines = append(lines, "there is a scaler "+s.Name)
	}
	return lines, nil
}

func tellPods(ctx context.Context, client kubernetes.Interface) (lines []string, err error) {
	pods, err := client.CoreV1().Pods("default").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	for _, p := range pods.Items {
		var conditions []string
		for _, c := range p.Status.Conditions {
			conditions = append(conditions, fmt.Sprintf("%s=%s %s", c.Type, c.Status, c.Message))
		}
		lines = append(lines, fmt.Sprintf("%s: %s at %s on %s since %s, deleted %v: %s", p.Name, p.Status.Phase, p.Status.PodIP, p.Spec.NodeName,
			p.CreationTimestamp.Format(time.TimeOnly), p.DeletionTimestamp, strings.Join(conditions, ", ")))
		// What its port says, as far as it is listened at.
		log, err := client.CoreV1().Pods("default").GetLogs(p.Name, &corev1.PodLogOptions{TailLines: new(int64(3))}).DoRaw(ctx)
		lines = append(lines, fmt.Sprintf("  its log ends (%v): %q", err, log))
	}
	return lines, nil
}

func tellEndpoints(ctx context.Context, client kubernetes.Interface) (lines []string, err error) {
	slices, err := client.DiscoveryV1().EndpointSlices("default").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	for _, s := range slices.Items {
		for _, e := range s.Endpoints {
			lines = append(lines, fmt.Sprintf("%s: %v ready %t", s.Name, e.Addresses, e.Conditions.Ready == nil || *e.Conditions.Ready))
		}
	}
	return lines, nil
}

func tellEvents(ctx context.Context, client kubernetes.Interface) (lines []string, err error) {
	events, err := client.CoreV1().Events("default").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	for _, e := range events.Items {
		lines = append(lines, fmt.Sprintf("%s %s %s: %s (%d times)", e.LastTimestamp.Format(time.TimeOnly), e.InvolvedObject.Name, e.Reason, e.Message, e.Count))
	}
	return lines[max(0, len(lines)-40):], nil
}
