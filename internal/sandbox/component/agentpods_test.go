package component

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/kwok/pkg/utils/lifecycle"
)

// What runs an agent's pod tells what becomes of it, and nobody else may.
func TestNoStageTouchesAnAgentsPodThatMayRun(t *testing.T) {
	life := podLife(t)
	for _, image := range []string{"atoll-agent", "r.example.org:5000/x/atoll-agent:broken", "atoll-agent:slow@sha256:00"} {
		for _, policy := range []corev1.RestartPolicy{"Always", "OnFailure", "Never"} {
			for _, phase := range []corev1.PodPhase{corev1.PodPending, corev1.PodRunning, corev1.PodSucceeded} {
				for _, deleted := range []*metav1.Time{nil, {Time: time.Now()}} {
					pod := &corev1.Pod{}
					pod.DeletionTimestamp = deleted
					pod.Spec.RestartPolicy = policy
					pod.Spec.Containers = []corev1.Container{{Name: "c", Image: image}}
					pod.Status = corev1.PodStatus{
						Phase: phase, PodIP: "10.16.0.2", StartTime: &metav1.Time{Time: time.Now()},
						Conditions: []corev1.PodCondition{
							{Type: corev1.PodInitialized, Status: "True"},
							{Type: corev1.ContainersReady, Status: "False"}, {Type: corev1.PodReady, Status: "False"},
						},
					}
					stage, err := life.Match(t.Context(), &lifecycle.Event{Data: pod})
					if err != nil {
						t.Fatal(err)
					}
					if stage != nil {
						t.Errorf("%s applies to a %s pod of %s", stage.Name(), phase, image)
					}
				}
			}
		}
	}
}
