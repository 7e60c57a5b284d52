package apply

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"atoll.dev/atoll/internal/health"
	"atoll.dev/atoll/internal/report"
)

// podsEvery is how often the pods of workloads that are not ready are looked
// at. Nothing is asked while every workload is healthy.
const podsEvery = 2 * time.Second

// maxPods bounds one look at a namespace.
const maxPods = 1000

var (
	podsResource = schema.GroupVersionResource{Version: "v1", Resource: "pods"}
	// withPods are the kinds whose health lies in their pods.
	withPods = map[schema.GroupKind]bool{
		{Group: "apps", Kind: "Deployment"}:  true,
		{Group: "apps", Kind: "StatefulSet"}: true,
		{Group: "apps", Kind: "DaemonSet"}:   true,
		{Group: "apps", Kind: "ReplicaSet"}:  true,
		{Group: "batch", Kind: "Job"}:        true,
	}
)

// condition is the health to report: a workload that still says "progressing"
// while its pods are hopeless is Degraded.
func (o *object) condition() verdict {
	if o.trouble != "" && o.health.health == report.HealthProgressing {
		return verdict{health: report.HealthDegraded, message: o.trouble}
	}
	return o.health
}

// lookAtPods finds why workloads do not become ready.
func (e *Engine) lookAtPods(ctx context.Context) {
	tick := time.NewTicker(podsEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, namespace := range e.unready() {
			troubles, err := e.troubles(ctx, namespace)
			if err != nil {
				e.log.Debug("pods cannot be read", "namespace", namespace, "error", err)
				continue
			}
			e.noteTroubles(namespace, troubles)
		}
	}
}

// unready are the namespaces with workloads that are not ready.
func (e *Engine) unready() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	seen := map[string]bool{}
	var namespaces []string
	for id, o := range e.objects {
		if !withPods[id.GroupKind()] || !o.wanted() {
			continue
		}
		if o.health.health != report.HealthProgressing {
			o.trouble = ""
		} else if !seen[id.Namespace] {
			seen[id.Namespace] = true
			namespaces = append(namespaces, id.Namespace)
		}
	}
	return namespaces
}

type workload struct{ kind, name string }

func (e *Engine) troubles(ctx context.Context, namespace string) (map[workload]string, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	list, err := e.clients.own.Resource(podsResource).Namespace(namespace).List(ctx, metav1.ListOptions{Limit: maxPods})
	if err != nil {
		return nil, err
	}
	found := map[workload]string{}
	for i := range list.Items {
		pod := &corev1.Pod{}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(list.Items[i].Object, pod); err != nil {
			continue // one odd pod tells nothing about the others
		}
		if trouble := health.PodTrouble(pod); trouble != "" {
			kind, name := health.PodOwner(pod)
			found[workload{kind, name}] = trouble
		}
	}
	return found, nil
}

func (e *Engine) noteTroubles(namespace string, troubles map[workload]string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for id, o := range e.objects {
		if id.Namespace != namespace || !withPods[id.GroupKind()] {
			continue
		}
		if now := clip(troubles[workload{id.Kind, id.Name}]); now != o.trouble {
			o.trouble = now
			e.touch(o.entry)
		}
	}
}
