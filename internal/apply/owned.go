package apply

import (
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// watchKind watches our objects of a kind: one watch for the whole cluster, or
// one per namespace where the agent may not see the whole. e.mu is held.
func (e *Engine) watchKind(k kind, namespace string, judged bool) {
	full := judged || !plainKinds[k.gvk.GroupKind()]
	everywhere := watchKey{gvr: k.gvr}
	if w, ok := e.watches[everywhere]; ok {
		if w == nil { // denied
			if k.namespaced && namespace != "" {
				e.startOwned(k, watchKey{gvr: k.gvr, namespace: namespace}, full)
			}
			return
		}
		if w.spec.full || !full {
			return
		}
		w.stop() // a health rule needs more than metadata
		delete(e.watches, everywhere)
	}
	e.startOwned(k, everywhere, full)
}

func (e *Engine) startOwned(k kind, key watchKey, full bool) {
	if _, runs := e.watches[key]; runs {
		return
	}
	gk := k.gvk.GroupKind()
	e.watches[key] = e.watch(watchSpec{
		kind: k, namespace: key.namespace, labels: partOfLabel, full: full,
		see: func(obj metav1.Object, deleted bool) {
			e.saw(ID{Group: gk.Group, Kind: gk.Kind, Namespace: obj.GetNamespace(), Name: obj.GetName()}, obj, deleted)
		},
		listed: func(present map[nameKey]bool) { e.listedOwned(gk, key.namespace, present) },
		denied: func(err error) bool { return e.deniedOwned(k, key, full, err) },
	})
}

// listedOwned reads again whatever of ours a list did not show.
func (e *Engine) listedOwned(gk schema.GroupKind, namespace string, present map[nameKey]bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for id, o := range e.objects {
		if id.GroupKind() != gk || namespace != "" && id.Namespace != namespace || present[nameKey{id.Namespace, id.Name}] {
			continue
		}
		if o.rec == nil || o.busy {
			continue
		}
		o.recheck = true
		e.queue.Add(task{object: id}, urgent)
	}
}

// deniedOwned falls back from the cluster to the namespaces of our objects.
func (e *Engine) deniedOwned(k kind, key watchKey, full bool, err error) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	gk := k.gvk.GroupKind()
	if !apierrors.IsNotFound(err) && (key.namespace != "" || !k.namespaced) {
		e.log.Warn("objects are applied but not watched: the agent may not list them", "kind", gk.String(), "error", err)
		e.seenUnwatched(gk, key.namespace)
		return false
	}
	if apierrors.IsNotFound(err) {
		return false // the kind itself is gone; it may come back
	}
	e.watches[key] = nil
	for id := range e.objects {
		if id.GroupKind() == gk {
			e.startOwned(k, watchKey{gvr: k.gvr, namespace: id.Namespace}, full)
		}
	}
	return true
}

// seenUnwatched reads objects once that no watch will ever show.
func (e *Engine) seenUnwatched(gk schema.GroupKind, namespace string) {
	for id, o := range e.objects {
		if id.GroupKind() == gk && (namespace == "" || id.Namespace == namespace) && !o.seen && o.rec != nil {
			o.recheck = true
			e.queue.Add(task{object: id}, ordinary)
		}
	}
}
