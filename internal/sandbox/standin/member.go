package standin

import (
	"fmt"
	"net/http"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
)

// Options are what one member is like.
type Options struct {
	// Name appears in the address that its clients dial.
	Name string
	// UID is that of kube-system, by which a cluster is known.
	UID types.UID
	// Version is what /version says, such as "v1.36.3".
	Version string
	// Nodes are made ready at start, with NodeLabels.
	Nodes      int
	NodeLabels map[string]string
	// ReadyAfter is how long a workload that changed stays unready; 0 is at once.
	ReadyAfter time.Duration
	// Now is the member's clock; nil is the machine's.
	Now func() time.Time
	// Wrote is told every object as it is stored; it must not call the member.
	Wrote func(gvr schema.GroupVersionResource, u *unstructured.Unstructured)
	// Deleted is told every object that is gone, as it was last, whoever deleted
	// it; it must not call the member.
	Deleted func(gvr schema.GroupVersionResource, u *unstructured.Unstructured)
}

// Member is one API server in memory. It is safe for concurrent use.
type Member struct {
	Options

	mu        sync.Mutex
	version   uint64
	resources map[schema.GroupVersionResource]*resource
	defined   map[schema.GroupVersion][]kindOf // by definitions
	sick      map[types.UID]string             // workloads that stay unready, and why
	down      bool
	interfere func(*http.Request) Fault
	requests  map[string]int
	timers    map[*time.Timer]struct{}
	closed    chan struct{}
}

// Fault is what befalls one request. The zero value is none.
type Fault struct {
	// Delay comes before everything else.
	Delay time.Duration
	// Refuse is answered instead of doing anything.
	Refuse error
	// Lose does what was asked, and lets the answer get lost.
	Lose bool
}

// New makes a member with the namespaces and nodes that a cluster starts with.
func New(o Options) *Member {
	if o.Now == nil {
		o.Now = time.Now
	}
	m := &Member{
		Options: o, resources: map[schema.GroupVersionResource]*resource{}, defined: map[schema.GroupVersion][]kindOf{},
		sick: map[types.UID]string{}, requests: map[string]int{}, timers: map[*time.Timer]struct{}{}, closed: make(chan struct{}),
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, name := range []string{"kube-system", "default"} {
		ns := newObject("v1", "Namespace", "", name)
		if name == "kube-system" {
			ns.SetUID(o.UID)
		}
		m.put(namespacesResource, ns)
	}
	for i := range o.Nodes {
		m.put(nodesResource, node(fmt.Sprintf("node-%d", i+1), o.NodeLabels))
	}
	return m
}

// Close ends every watch and every timer; requests fail from then on.
func (m *Member) Close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down = true; isOpen(m.closed) {
		close(m.closed)
	}
	for t := range m.timers {
		t.Stop()
	}
	clear(m.timers)
	m.wakeAll()
}

// Config reaches the member as an administrator.
func (m *Member) Config() *rest.Config {
	return &rest.Config{Host: "http://" + m.Name + ".standin", Transport: m, QPS: -1}
}

// SetDown makes the API server unreachable, and its watches break, or lets it
// be reached again. What it holds stays.
func (m *Member) SetDown(down bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.down = down
	m.wakeAll()
}

// Interfere asks f before every request; nil ends it. f must not call m.
func (m *Member) Interfere(f func(*http.Request) Fault) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.interfere = f
}

// Requests counts what was asked so far, by verb: get, list, watch, create,
// update, apply, patch, delete.
func (m *Member) Requests() map[string]int {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make(map[string]int, len(m.requests))
	for verb, n := range m.requests {
		out[verb] = n
	}
	return out
}

// Objects are all objects of a resource, in order of namespace and name.
func (m *Member) Objects(gvr schema.GroupVersionResource) []*unstructured.Unstructured {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.resources[gvr]
	if r == nil {
		return nil
	}
	var out []*unstructured.Unstructured
	for _, key := range r.keys() {
		out = append(out, r.records[key].object())
	}
	return out
}

// Edit changes an object as somebody else, who is named as field manager. It
// reports whether the object is there.
func (m *Member) Edit(gvr schema.GroupVersionResource, namespace, name, manager string, change func(*unstructured.Unstructured)) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	old := m.find(gvr, namespace, name)
	if old == nil {
		return false, nil
	}
	next := old.object()
	change(next)
	next, err := managed(old.object(), next, manager)
	if err != nil {
		return true, err
	}
	m.store(gvr, old, next)
	return true, nil
}

// Remove deletes an object as somebody else would, and reports whether it was
// there.
func (m *Member) Remove(gvr schema.GroupVersionResource, namespace, name string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	old := m.find(gvr, namespace, name)
	if old != nil {
		m.remove(gvr, old)
	}
	return old != nil
}

func isOpen(c chan struct{}) bool {
	select {
	case <-c:
		return false
	default:
		return true
	}
}

func newObject(apiVersion, kind, namespace, name string) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": apiVersion, "kind": kind, "metadata": map[string]any{"name": name}}}
	if namespace != "" {
		u.SetNamespace(namespace)
	}
	return u
}

func node(name string, labels map[string]string) *unstructured.Unstructured {
	n := newObject("v1", "Node", "", name)
	n.SetLabels(labels)
	room := map[string]any{"cpu": "16", "memory": "64Gi", "pods": "110"}
	n.Object["status"] = map[string]any{
		"capacity": room, "allocatable": room,
		"conditions": []any{map[string]any{"type": "Ready", "status": "True", "reason": "KubeletReady"}},
	}
	return n
}
