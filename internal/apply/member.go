package apply

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"atoll.dev/atoll/internal/drift"
)

// member is what the engine knows of the cluster beyond its own objects;
// Engine.mu guards it.
type member struct {
	limits     Limits
	namespaces map[string]bool
	// pauses are the pause annotations of namespaces.
	pauses map[string]map[string]string
	// scalers are what each scaler object governs, live ones and those that an
	// entry is about to deliver.
	scalers map[ID]drift.Governed
	// pending are the watches that have not listed yet: before they have,
	// nothing is written, for a scaler's fields or a pause might be overrun.
	pending map[string]bool
	ready   chan struct{}
	// scalerKinds are watched already; others are looked for at askedScalers.
	scalerKinds  map[schema.GroupKind]bool
	askedScalers time.Time
	definitions  bool // their watch runs
}

func newMember() member {
	return member{
		namespaces: map[string]bool{}, pauses: map[string]map[string]string{}, scalers: map[ID]drift.Governed{},
		pending: map[string]bool{}, ready: make(chan struct{}), scalerKinds: map[schema.GroupKind]bool{},
	}
}

var (
	namespaces = kind{gvk: schema.GroupVersionKind{Version: "v1", Kind: "Namespace"}, gvr: schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}}
	configMaps = kind{gvk: schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"}, gvr: schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}, namespaced: true}
	hpas       = kind{gvk: schema.GroupVersionKind{Group: "autoscaling", Version: "v2", Kind: "HorizontalPodAutoscaler"}, gvr: schema.GroupVersionResource{Group: "autoscaling", Version: "v2", Resource: "horizontalpodautoscalers"}, namespaced: true}
	crds       = kind{gvk: crdKind.WithVersion("v1"), gvr: schema.GroupVersionResource{Group: crdKind.Group, Version: "v1", Resource: "customresourcedefinitions"}}
)

// watchMember starts the watches that every member needs; e.mu is held.
func (e *Engine) watchMember() {
	e.watch(e.awaited("namespaces", watchSpec{kind: namespaces, see: e.sawNamespace, listed: e.listedNamespaces}))
	e.watch(e.awaited("limits", watchSpec{
		kind: configMaps, namespace: systemNamespace, fields: "metadata.name=" + limitsName, full: true,
		see: e.sawLimits, listed: func(present map[nameKey]bool) {
			if len(present) == 0 {
				e.setLimits(Limits{})
			}
		},
	}))
	if e.bare {
		return
	}
	e.member.scalerKinds[hpas.gvk.GroupKind()] = true
	e.watch(e.awaited("scalers", e.scalerSpec(hpas)))
}

// awaited counts the watch as pending until it has listed, or may not list.
func (e *Engine) awaited(name string, spec watchSpec) watchSpec {
	e.member.pending[name] = true
	done := func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		if delete(e.member.pending, name); len(e.member.pending) == 0 {
			select {
			case <-e.member.ready:
			default:
				close(e.member.ready)
			}
		}
	}
	listed := spec.listed
	spec.listed = func(present map[nameKey]bool) {
		listed(present)
		done()
	}
	spec.denied = func(err error) bool {
		e.log.Warn("the agent may not see this in its member", "what", name, "error", err)
		done()
		return false // it may be granted later
	}
	return spec
}

func (m *member) listed() bool { return len(m.pending) == 0 && isClosed(m.ready) }

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func (e *Engine) awaitMember(ctx context.Context) error {
	select {
	case <-e.member.ready:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (e *Engine) sawNamespace(obj metav1.Object, deleted bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	name := obj.GetName()
	before := e.member.pauses[name]
	if deleted {
		delete(e.member.namespaces, name)
		delete(e.member.pauses, name)
		return
	}
	e.member.namespaces[name] = true
	now := pauseAnnotation(obj.GetAnnotations())
	if now == nil {
		delete(e.member.pauses, name)
	} else {
		e.member.pauses[name] = now
	}
	if mapsEqual(before, now) {
		return
	}
	for _, o := range e.objects {
		if o.id.Namespace == name {
			e.repause(o)
			e.touch(o.entry)
			e.queue.Add(task{object: o.id}, urgent)
		}
	}
}

func mapsEqual(a, b map[string]string) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if b[k] != v {
			return false
		}
	}
	return true
}

func (e *Engine) listedNamespaces(present map[nameKey]bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for name := range e.member.namespaces {
		if !present[nameKey{name: name}] {
			delete(e.member.namespaces, name)
			delete(e.member.pauses, name)
		}
	}
}

func (e *Engine) sawLimits(obj metav1.Object, deleted bool) {
	u, ok := obj.(*unstructured.Unstructured)
	if deleted || !ok || obj.GetName() != limitsName {
		e.setLimits(Limits{})
		return
	}
	data, _, err := unstructured.NestedStringMap(u.Object, "data")
	if err != nil {
		e.log.Warn("the member's limits cannot be read; the last known stay", "error", err)
		return
	}
	e.setLimits(parseLimits(data))
}

// setLimits takes effect at once for every object and every held deletion.
func (e *Engine) setLimits(l Limits) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.member.limits = l
	for _, o := range e.objects {
		if refused := l.refuses(o.id); refused != o.blocked {
			o.blocked = refused
			e.queue.Add(task{object: o.id}, ordinary)
		}
		if l.Deletions && o.remove && !o.deleting {
			o.remove = false
		}
	}
	for _, en := range e.entries {
		en.noDeletions = l.Deletions
		if en.prepared && en.left == [2]int{} {
			e.prune(en)
		}
		e.wakeHooks(en)
	}
	e.touchAllLocked()
}

func (e *Engine) scalerSpec(k kind) watchSpec {
	gk := k.gvk.GroupKind()
	return watchSpec{kind: k, full: true,
		see: func(obj metav1.Object, deleted bool) { e.sawScaler(gk, obj, deleted) },
		listed: func(present map[nameKey]bool) {
			e.mu.Lock()
			defer e.mu.Unlock()
			for id := range e.member.scalers {
				if id.GroupKind() == gk && !present[nameKey{id.Namespace, id.Name}] && !e.pendingScaler(id) {
					e.governs(id, drift.Governed{}, false)
				}
			}
		},
	}
}

// pendingScaler tells a scaler that an entry is about to deliver.
func (e *Engine) pendingScaler(id ID) bool {
	o, ok := e.objects[id]
	return ok && o.wanted()
}

func (e *Engine) sawScaler(gk schema.GroupKind, obj metav1.Object, deleted bool) {
	u, ok := obj.(*unstructured.Unstructured)
	if !ok {
		return
	}
	g, governs := drift.Governs(u.Object)
	e.mu.Lock()
	defer e.mu.Unlock()
	id := ID{Group: gk.Group, Kind: gk.Kind, Namespace: obj.GetNamespace(), Name: obj.GetName()}
	if deleted && e.pendingScaler(id) {
		return // it is made again at once
	}
	e.governs(id, g, governs && !deleted)
}

// governs takes what a scaler governs now, and rescopes its targets.
func (e *Engine) governs(id ID, g drift.Governed, active bool) {
	before, was := e.member.scalers[id]
	if active {
		e.member.scalers[id] = g
	} else {
		delete(e.member.scalers, id)
	}
	for _, t := range []drift.Target{before.Target, g.Target} {
		target := ID{Group: t.Group, Kind: t.Kind, Namespace: t.Namespace, Name: t.Name}
		if o, ok := e.objects[target]; ok && (was || active) {
			e.rescope(o)
		}
	}
}

// governed are the fields that scalers take over in one object.
func (m *member) governed(id ID) drift.Paths {
	var paths drift.Paths
	target := drift.Target{Group: id.Group, Kind: id.Kind, Namespace: id.Namespace, Name: id.Name}
	for _, g := range m.scalers {
		if g.Target == target {
			paths = append(paths, g.Paths...)
		}
	}
	return paths
}

// scalersChanged takes the scalers of a new rendering, before they exist.
func (e *Engine) scalersChanged(en *entry, objects []rendered) {
	for i := range objects {
		if g := objects[i].governed; g != nil {
			e.governs(objects[i].id, *g, true)
		}
	}
	for _, o := range en.objects {
		if o.wanted() {
			e.rescope(o)
		}
	}
}

// watchScalers looks now and then for scaler kinds that come by definition. Only
// the first delivery waits for it: those that follow have been looked for before.
func (e *Engine) watchScalers(ctx context.Context) {
	const pause = 30 * time.Second
	e.mu.Lock()
	asked, now := e.member.askedScalers, e.clock()
	due := now.Sub(asked) >= pause
	if due {
		e.member.askedScalers = now
	}
	e.mu.Unlock()
	switch {
	case asked.IsZero():
		e.findScalers(ctx)
	case due:
		go e.findScalers(ctx)
	}
}

func (e *Engine) findScalers(ctx context.Context) {
	for _, gvk := range []schema.GroupVersionKind{
		{Group: "keda.sh", Version: "v1alpha1", Kind: "ScaledObject"},
		{Group: "autoscaling.k8s.io", Version: "v1", Kind: "VerticalPodAutoscaler"},
	} {
		k, err := e.kinds.Find(ctx, gvk)
		if err != nil {
			continue // not installed
		}
		e.mu.Lock()
		if !e.member.scalerKinds[gvk.GroupKind()] {
			e.member.scalerKinds[gvk.GroupKind()] = true
			e.watch(e.scalerSpec(k))
		}
		e.mu.Unlock()
	}
}

// watchDefinitions runs while something waits for a kind; e.mu is held.
func (e *Engine) watchDefinitions() {
	if e.member.definitions {
		return
	}
	e.member.definitions = true
	listed := false
	e.watch(watchSpec{kind: crds,
		see: func(obj metav1.Object, _ bool) {
			e.mu.Lock()
			defer e.mu.Unlock()
			if listed {
				e.definitionAppeared(groupOfDefinition(obj.GetName()))
			}
		},
		listed: func(map[nameKey]bool) {
			e.mu.Lock()
			defer e.mu.Unlock()
			listed = true
		},
	})
}
