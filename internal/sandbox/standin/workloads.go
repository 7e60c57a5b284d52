package standin

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// react does what a real cluster does after a write; m.mu is held.
func (m *Member) react(gvr schema.GroupVersionResource, r *record, u *unstructured.Unstructured) {
	switch {
	case gvr == definitions:
		m.define(u)
		m.settle(gvr, r, u, established(u))
	case gvr == namespacesResource:
		m.settle(gvr, r, u, map[string]any{"phase": "Active"})
	case gvr.Group == "apps" || gvr.Group == "batch" && u.GetKind() == "Job":
		if observed, _, _ := unstructured.NestedInt64(u.Object, "status", "observedGeneration"); observed == u.GetGeneration() && gvr.Group == "apps" {
			return
		}
		if gvr.Group == "batch" && u.Object["status"] != nil {
			return
		}
		if m.ReadyAfter > 0 {
			m.settle(gvr, r, u, status(u, "pods are starting"))
			m.later(gvr, r.nameKey)
			return
		}
		m.settle(gvr, r, u, status(u, m.sick[r.uid]))
	}
}

// settle writes a status, if it is another.
func (m *Member) settle(gvr schema.GroupVersionResource, r *record, u *unstructured.Unstructured, status map[string]any) {
	if status == nil {
		return
	}
	next := u.DeepCopy()
	next.Object["status"] = status
	m.store(gvr, r, next)
}

// later makes a workload ready when its time has come.
func (m *Member) later(gvr schema.GroupVersionResource, key nameKey) {
	var t *time.Timer
	t = time.AfterFunc(m.ReadyAfter, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.timers, t)
		if r := m.find(gvr, key.namespace, key.name); r != nil {
			u := r.object()
			m.settle(gvr, r, u, status(u, m.sick[r.uid]))
		}
	})
	m.timers[t] = struct{}{}
}

// Health makes a workload unready for the reason given, or ready again for "".
// It reports whether the workload is there.
func (m *Member) Health(gvr schema.GroupVersionResource, namespace, name, reason string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.find(gvr, namespace, name)
	if r == nil {
		return false
	}
	if reason == "" {
		delete(m.sick, r.uid)
	} else {
		m.sick[r.uid] = reason
	}
	u := r.object()
	m.settle(gvr, r, u, status(u, reason))
	return true
}

// status is what controllers would say of a workload of this generation: that
// all is well, or why not.
func status(u *unstructured.Unstructured, reason string) map[string]any {
	wanted, found, _ := unstructured.NestedInt64(u.Object, "spec", "replicas")
	if !found {
		wanted = 1
	}
	ready, condition := wanted, "True"
	if reason != "" {
		ready, condition = 0, "False"
	}
	s := map[string]any{
		"observedGeneration": u.GetGeneration(), "replicas": wanted, "updatedReplicas": wanted,
		"readyReplicas": ready, "availableReplicas": ready,
	}
	switch u.GetKind() {
	case "Deployment":
		s["conditions"] = []any{
			map[string]any{"type": "Available", "status": condition, "reason": "MinimumReplicas", "message": reason},
			map[string]any{"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"},
		}
	case "StatefulSet":
		s["currentReplicas"], s["currentRevision"], s["updateRevision"] = wanted, "1", "1"
	case "DaemonSet":
		return map[string]any{
			"observedGeneration": u.GetGeneration(), "desiredNumberScheduled": int64(1), "currentNumberScheduled": int64(1),
			"updatedNumberScheduled": int64(1), "numberMisscheduled": int64(0), "numberReady": min(ready, 1), "numberAvailable": min(ready, 1),
		}
	case "Job":
		if reason != "" {
			return map[string]any{"active": int64(1)}
		}
		return map[string]any{"succeeded": int64(1), "conditions": []any{map[string]any{"type": "Complete", "status": "True"}}}
	}
	return s
}

func established(u *unstructured.Unstructured) map[string]any {
	if u.Object["status"] != nil {
		return nil
	}
	at := u.GetCreationTimestamp().UTC().Format(time.RFC3339)
	condition := func(kind string) any {
		return map[string]any{"type": kind, "status": string(metav1.ConditionTrue), "reason": kind, "lastTransitionTime": at}
	}
	return map[string]any{"conditions": []any{condition("NamesAccepted"), condition("Established")}}
}
