package component

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"
	"sigs.k8s.io/kwok/pkg/apis/internalversion"
	"sigs.k8s.io/kwok/pkg/utils/lifecycle"
)

func podLife(t *testing.T) lifecycle.Lifecycle {
	t.Helper()
	stages, err := loadStages()
	if err != nil {
		t.Fatal(err)
	}
	life, err := lifecycle.NewLifecycle(stages[internalversion.StageResourceRef{APIGroup: "v1", Kind: "Pod"}])
	if err != nil {
		t.Fatal(err)
	}
	return life
}

// Two stages that apply to one pod would be chosen between by lot.
func TestAtMostOneStageAppliesToAnyPod(t *testing.T) {
	life := podLife(t)
	rapid.Check(t, func(t *rapid.T) {
		pod := drawPod(t)
		event := &lifecycle.Event{Data: pod}
		stages, err := life.ListAllPossible(t.Context(), event)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, stage := range stages {
			names = append(names, stage.Name())
			if delay, ok, err := stage.Delay(t.Context(), event, time.Now()); err != nil || (ok && delay > 61*time.Second) {
				t.Fatalf("stage %s waits %s: %v", stage.Name(), delay, err)
			}
		}
		if len(names) > 1 {
			t.Fatalf("%v all apply", names)
		}
	})
}

func drawPod(t *rapid.T) *corev1.Pod {
	pod := &corev1.Pod{}
	pod.Spec.RestartPolicy = rapid.SampledFrom([]corev1.RestartPolicy{"Always", "OnFailure", "Never"}).Draw(t, "policy")
	pod.Status.Phase = rapid.SampledFrom([]corev1.PodPhase{"Pending", "Running", "Succeeded", "Failed"}).Draw(t, "phase")
	pod.Status.PodIP = rapid.SampledFrom([]string{"", "10.16.0.2"}).Draw(t, "address")
	if pod.Status.PodIP != "" { // one comes with the other
		pod.Status.StartTime = &metav1.Time{Time: time.Now()}
		for _, kind := range []corev1.PodConditionType{corev1.PodInitialized, corev1.ContainersReady, corev1.PodReady} {
			status := rapid.SampledFrom([]corev1.ConditionStatus{"True", "False"}).Draw(t, string(kind))
			pod.Status.Conditions = append(pod.Status.Conditions, corev1.PodCondition{Type: kind, Status: status})
		}
	}
	if rapid.Bool().Draw(t, "gate") {
		pod.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: "example.com/open"}}
	}
	if rapid.Bool().Draw(t, "deleted") {
		pod.DeletionTimestamp = &metav1.Time{Time: time.Now()}
	}
	image := rapid.SampledFrom([]string{"a:1", "a", "a:slow", "a:fail", "a:broken", "reg:5000/a:broken@sha256:00"})
	for i := range rapid.IntRange(0, 2).Draw(t, "init containers") {
		pod.Spec.InitContainers = append(pod.Spec.InitContainers, corev1.Container{Name: fmt.Sprint("i", i), Image: image.Draw(t, "init image")})
	}
	for i := range rapid.IntRange(1, 3).Draw(t, "containers") {
		pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Name: fmt.Sprint("c", i), Image: image.Draw(t, "image")})
		restarts := rapid.Int32Range(0, 1000).Draw(t, "restarts")
		pod.Status.ContainerStatuses = append(pod.Status.ContainerStatuses, corev1.ContainerStatus{RestartCount: restarts})
	}
	return pod
}

// A pod that no stage applies to stays as it is for ever, which only an ended
// one may, or one that serves, or one whose readiness somebody else decides.
func TestNoPodIsStuckHalfway(t *testing.T) {
	life := podLife(t)
	for _, policy := range []corev1.RestartPolicy{"Always", "OnFailure", "Never"} {
		for _, image := range []string{"a:1", "a:slow", "a:fail", "a:broken"} {
			for _, phase := range []corev1.PodPhase{corev1.PodPending, corev1.PodRunning} {
				pod := &corev1.Pod{}
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
				// Such a pod has no business here: it is ready when it runs.
				serves := policy == corev1.RestartPolicyAlways && image == "a:1" && phase == corev1.PodRunning
				if stage == nil && !serves {
					t.Errorf("nothing ever happens to a %s pod with image %s and restart policy %s", phase, image, policy)
				}
			}
		}
	}
}
