package agent

import (
	"context"
	"encoding/json"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/join"
)

// Notes on the agent's Deployment, so that whichever agent acts can finish what
// another began.
const (
	noteFormer  = "atoll.dev/agent-former"  // the image before the upgrade
	noteAttempt = "atoll.dev/agent-attempt" // which wish it serves
	noteFailed  = "atoll.dev/agent-failed"  // why that wish was rolled back
)

// ownDeployment is the Deployment that runs the agents of this member.
type ownDeployment struct{ member kubernetes.Interface }

func (o ownDeployment) get(ctx context.Context) (*appsv1.Deployment, error) {
	d, err := o.member.AppsV1().Deployments(v1alpha1.SystemNamespace).Get(ctx, join.AgentAccount, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("read the agent's Deployment: %w", err)
	}
	return d, nil
}

// run sets the image and notes; a note of nil goes.
func (o ownDeployment) run(ctx context.Context, image string, notes map[string]any) (*appsv1.Deployment, error) {
	data, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"annotations": notes},
		"spec": map[string]any{"template": map[string]any{"spec": map[string]any{
			"containers": []any{map[string]any{"name": join.AgentContainer, "image": image}},
		}}},
	})
	if err != nil {
		return nil, fmt.Errorf("encode the change of the agent's Deployment: %w", err)
	}
	d, err := o.member.AppsV1().Deployments(v1alpha1.SystemNamespace).Patch(ctx, join.AgentAccount, types.StrategicMergePatchType, data, metav1.PatchOptions{FieldManager: "atoll-agent"})
	if err != nil {
		return nil, fmt.Errorf("change the agent's Deployment: %w", err)
	}
	return d, nil
}

func imageOf(spec corev1.PodSpec) string {
	for _, c := range spec.Containers {
		if c.Name == join.AgentContainer {
			return c.Image
		}
	}
	return ""
}
