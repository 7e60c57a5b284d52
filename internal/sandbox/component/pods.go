package component

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"atoll.dev/atoll/internal/sandbox"
	"atoll.dev/atoll/internal/sandbox/podprocess"
	"atoll.dev/atoll/internal/sandbox/traffic"
)

// retryPorts is how often pods whose port was in use try it again.
const retryPorts = 30 * time.Second

func newTraffic(state sandbox.State) (*traffic.Pods, error) {
	within, err := netip.ParsePrefix(state.LoopbackCIDR())
	if err != nil {
		return nil, fmt.Errorf("loopback range: %w", err)
	}
	return traffic.NewPods(state.Spec.Name, within), nil
}

// listenForPods opens and closes the ports of pods as they become ready and
// go. What is known of the pods is kept while the API server is dead.
func listenForPods(ctx context.Context, client kubernetes.Interface, pods *traffic.Pods, agents *podprocess.Kubelet) error {
	factory := informers.NewSharedInformerFactory(client, retryPorts)
	informer := factory.Core().V1().Pods().Informer()
	if err := informer.SetTransform(forTraffic); err != nil {
		return err
	}
	set := func(object any) {
		if pod := object.(*corev1.Pod); podprocess.Runs(pod) {
			agents.Set(pod)
		} else {
			pods.Set(pod)
		}
	}
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    set,
		UpdateFunc: func(_, object any) { set(object) },
		DeleteFunc: func(object any) {
			if gone, ok := object.(cache.DeletedFinalStateUnknown); ok {
				object = gone.Obj
			}
			if pod, ok := object.(*corev1.Pod); ok {
				agents.Remove(pod.UID)
			}
			if name, err := cache.DeletionHandlingObjectToName(object); err == nil {
				pods.Remove(types.NamespacedName{Namespace: name.Namespace, Name: name.Name})
			}
		},
	})
	if err != nil {
		return err
	}
	factory.Start(ctx.Done())
	if known := factory.WaitForCacheSync(ctx.Done()); known != nil && ctx.Err() == nil {
		if err := agents.Sweep(); err != nil {
			return err
		}
	}
	<-ctx.Done()
	return ctx.Err()
}

// forTraffic keeps of a pod what its ports depend on: there may be thousands.
func forTraffic(object any) (any, error) {
	pod, ok := object.(*corev1.Pod)
	if !ok {
		return object, nil
	}
	slim := &corev1.Pod{ObjectMeta: pod.ObjectMeta}
	slim.ManagedFields, slim.Annotations, slim.Labels = nil, nil, nil
	slim.Spec.NodeName, slim.Spec.TerminationGracePeriodSeconds = pod.Spec.NodeName, pod.Spec.TerminationGracePeriodSeconds
	for _, c := range pod.Spec.Containers {
		slim.Spec.Containers = append(slim.Spec.Containers, corev1.Container{Name: c.Name, Image: c.Image, Ports: c.Ports})
	}
	slim.Status = corev1.PodStatus{Phase: pod.Status.Phase, PodIP: pod.Status.PodIP, Conditions: pod.Status.Conditions}
	return slim, nil
}
