package agent

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"atoll.dev/atoll/internal/fleet"
	"atoll.dev/atoll/internal/report"
)

// addOwned hangs ReplicaSets and pods below the workloads that made them.
func (a *agent) addOwned(ctx context.Context, objects []fleet.Object) error {
	namespaces := map[string]bool{}
	for _, o := range objects {
		if workload[o.Ref.Kind] {
			namespaces[o.Ref.Namespace] = true
		}
	}
	children := map[string][]fleet.Object{}
	for ns := range namespaces {
		if err := a.collectOwned(ctx, ns, children); err != nil {
			return err
		}
	}
	for i := range objects {
		attach(&objects[i], children)
	}
	return nil
}

func attach(o *fleet.Object, children map[string][]fleet.Object) {
	if o.UID == "" {
		return
	}
	o.Owned = children[o.UID]
	for i := range o.Owned {
		attach(&o.Owned[i], children)
	}
}

// maxOwned bounds one namespace's listing.
const maxOwned = 2000

func (a *agent) collectOwned(ctx context.Context, ns string, children map[string][]fleet.Object) error {
	sets, err := a.member.AppsV1().ReplicaSets(ns).List(ctx, metav1.ListOptions{Limit: maxOwned})
	if err != nil {
		return fmt.Errorf("list replica sets in %s: %w", ns, err)
	}
	for i := range sets.Items {
		rs := &sets.Items[i]
		if rs.Status.Replicas == 0 && rs.Spec.Replicas != nil && *rs.Spec.Replicas == 0 {
			continue // kept for rollbacks only
		}
		add(children, rs.OwnerReferences, replicaSet(rs))
	}
	pods, err := a.member.CoreV1().Pods(ns).List(ctx, metav1.ListOptions{Limit: maxOwned})
	if err != nil {
		return fmt.Errorf("list pods in %s: %w", ns, err)
	}
	for i := range pods.Items {
		add(children, pods.Items[i].OwnerReferences, pod(&pods.Items[i]))
	}
	return nil
}

func add(children map[string][]fleet.Object, owners []metav1.OwnerReference, o fleet.Object) {
	for _, owner := range owners {
		if owner.Controller != nil && *owner.Controller {
			children[string(owner.UID)] = append(children[string(owner.UID)], o)
		}
	}
}

func replicaSet(rs *appsv1.ReplicaSet) fleet.Object {
	o := fleet.Object{
		Ref: report.ObjectRef{Group: "apps", Version: "v1", Kind: "ReplicaSet", Namespace: rs.Namespace, Name: rs.Name},
		UID: string(rs.UID), Health: report.HealthHealthy,
		Message: fmt.Sprintf("%d of %d ready", rs.Status.ReadyReplicas, rs.Status.Replicas),
	}
	if rs.Status.ReadyReplicas < rs.Status.Replicas {
		o.Health = report.HealthProgressing
	}
	return o
}

func pod(p *corev1.Pod) fleet.Object {
	o := fleet.Object{
		Ref: report.ObjectRef{Version: "v1", Kind: "Pod", Namespace: p.Namespace, Name: p.Name},
		UID: string(p.UID), Health: report.HealthProgressing, Message: string(p.Status.Phase),
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue || p.Status.Phase == corev1.PodSucceeded {
			o.Health = report.HealthHealthy
		}
	}
	for _, c := range p.Status.ContainerStatuses {
		if c.State.Waiting != nil && c.RestartCount > 0 || p.Status.Phase == corev1.PodFailed {
			o.Health = report.HealthDegraded
		}
		if w := c.State.Waiting; w != nil && w.Reason != "" {
			o.Message = w.Reason
		}
	}
	return o
}
