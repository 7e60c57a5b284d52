package podprocess

import (
	"math"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// statusOf is the part of a pod's status that a kubelet derives from its
// containers. What the pod was before says how its readiness gates are.
func statusOf(before *corev1.Pod, containers []corev1.ContainerStatus, policy corev1.RestartPolicy) corev1.PodStatus {
	status := corev1.PodStatus{Phase: phaseOf(containers, policy), ContainerStatuses: containers}
	containersReady := corev1.PodCondition{Type: corev1.ContainersReady, Status: corev1.ConditionTrue}
	ready := corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionTrue}
	switch {
	case status.Phase == corev1.PodSucceeded || status.Phase == corev1.PodFailed:
		containersReady = refusal(containersReady.Type, "PodCompleted", "")
		ready = refusal(ready.Type, "PodCompleted", "")
	case !all(containers, func(c corev1.ContainerStatus) bool { return c.Ready }):
		containersReady = refusal(containersReady.Type, "ContainersNotReady", "containers with unready status")
		ready = refusal(ready.Type, "ContainersNotReady", "containers with unready status")
	case !gatesOpen(before):
		ready = refusal(ready.Type, "ReadinessGatesNotReady", "corresponding condition of a readiness gate is not true")
	}
	status.Conditions = []corev1.PodCondition{containersReady, ready}
	return status
}

func refusal(kind corev1.PodConditionType, reason, message string) corev1.PodCondition {
	return corev1.PodCondition{Type: kind, Status: corev1.ConditionFalse, Reason: reason, Message: message}
}

// phaseOf follows the kubelet's: a pod is Pending until each container has
// begun once, and over when each has ended and none will begin again.
func phaseOf(containers []corev1.ContainerStatus, policy corev1.RestartPolicy) corev1.PodPhase {
	begun := func(c corev1.ContainerStatus) bool {
		return c.State.Waiting == nil || c.LastTerminationState.Terminated != nil
	}
	over := func(c corev1.ContainerStatus) bool {
		return c.State.Terminated != nil && !restarts(policy, c.State.Terminated.ExitCode)
	}
	switch {
	case !all(containers, begun):
		return corev1.PodPending
	case !all(containers, over):
		return corev1.PodRunning
	case all(containers, func(c corev1.ContainerStatus) bool { return c.State.Terminated.ExitCode == 0 }):
		return corev1.PodSucceeded
	}
	return corev1.PodFailed
}

// restarts says whether a container that ended begins again.
func restarts(policy corev1.RestartPolicy, code int32) bool {
	return policy == corev1.RestartPolicyAlways || policy == corev1.RestartPolicyOnFailure && code != 0
}

func all(containers []corev1.ContainerStatus, ok func(corev1.ContainerStatus) bool) bool {
	return !slices.ContainsFunc(containers, func(c corev1.ContainerStatus) bool { return !ok(c) })
}

func gatesOpen(pod *corev1.Pod) bool {
	for _, gate := range pod.Spec.ReadinessGates {
		if !isTrue(pod, gate.ConditionType) {
			return false
		}
	}
	return true
}

func initialized(pod *corev1.Pod) bool { return isTrue(pod, corev1.PodInitialized) }

func isTrue(pod *corev1.Pod, kind corev1.PodConditionType) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == kind && c.Status == corev1.ConditionTrue
	})
}

// conditionTimes are when conditions last became what they are.
type conditionTimes map[corev1.PodConditionType]corev1.PodCondition

func (t conditionTimes) stamp(conditions []corev1.PodCondition, now time.Time) {
	for i, c := range conditions {
		if have, ok := t[c.Type]; ok && have.Status == c.Status {
			conditions[i].LastTransitionTime = have.LastTransitionTime
		} else {
			conditions[i].LastTransitionTime = metav1.NewTime(now)
		}
		t[c.Type] = conditions[i]
	}
}

const (
	maxBackOff = time.Minute
	// healthyAfter is how long a container must have run to be forgiven.
	healthyAfter = 2 * maxBackOff
)

// backOff is the pause before something is tried again that failed n times:
// the kubelet's doubling, from two seconds instead of ten, after one that is
// hardly a pause.
func backOff(n int) time.Duration {
	if n == 0 {
		return 200 * time.Millisecond
	}
	return min(time.Duration(math.Pow(2, float64(min(n, 10))))*time.Second, maxBackOff)
}
