package health

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
)

// hopeless are the reasons for which a container waits and that do not pass by
// waiting: someone must change something. The values are the kubelet's.
var hopeless = map[string]bool{
	"CrashLoopBackOff":           true,
	"ImagePullBackOff":           true,
	"ErrImagePull":               true,
	"ErrImageNeverPull":          true,
	"InvalidImageName":           true,
	"CreateContainerConfigError": true,
	"CreateContainerError":       true,
	"RunContainerError":          true,
}

// PodTrouble is why a pod will not become ready by waiting, or "": the
// workload that made it is then Degraded long before its own deadline says so.
func PodTrouble(p *corev1.Pod) string {
	if p.DeletionTimestamp != nil {
		return ""
	}
	for _, list := range [][]corev1.ContainerStatus{p.Status.InitContainerStatuses, p.Status.ContainerStatuses} {
		for _, c := range list {
			if w := c.State.Waiting; w != nil && hopeless[w.Reason] {
				return containerTrouble(p.Name, c, w)
			}
		}
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Reason == corev1.PodReasonUnschedulable {
			return fmt.Sprintf("pod %s cannot be scheduled: %s", p.Name, c.Message)
		}
	}
	return ""
}

func containerTrouble(pod string, c corev1.ContainerStatus, w *corev1.ContainerStateWaiting) string {
	text := fmt.Sprintf("pod %s: container %s: %s", pod, c.Name, w.Reason)
	if w.Message != "" {
		text += ": " + w.Message
	}
	if last := c.LastTerminationState.Terminated; last != nil {
		text += fmt.Sprintf(" (last exit code %d, %d restarts)", last.ExitCode, c.RestartCount)
	}
	return text
}

// PodOwner is the kind and name of the workload that made a pod; for a
// Deployment that is found through its ReplicaSet, whose name is the
// Deployment's and the hash that the pod bears as a label.
func PodOwner(p *corev1.Pod) (kind, name string) {
	for _, o := range p.OwnerReferences {
		if o.Controller == nil || !*o.Controller {
			continue
		}
		if hash := p.Labels["pod-template-hash"]; o.Kind == "ReplicaSet" && hash != "" {
			suffix := "-" + hash
			if len(o.Name) > len(suffix) && o.Name[len(o.Name)-len(suffix):] == suffix {
				return "Deployment", o.Name[:len(o.Name)-len(suffix)]
			}
		}
		return o.Kind, o.Name
	}
	return "", ""
}
