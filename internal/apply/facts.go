package apply

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"atoll.dev/atoll/api/v1alpha1"
)

// factsAge is how long facts are good for: summing pods reads all of them.
const factsAge = time.Minute

type factsCache struct {
	mu    sync.Mutex
	at    time.Time
	facts v1alpha1.Facts
}

// Facts is the member's inventory, at most a minute old; its limits are as of
// now. What the agent may not read is left out. An error means that the member
// could not be asked, and comes with the facts as they were.
func (e *Engine) Facts(ctx context.Context) (v1alpha1.Facts, error) {
	c := &e.facts
	c.mu.Lock()
	defer c.mu.Unlock()
	var away error
	if now := e.clock(); c.at.IsZero() || now.Sub(c.at) >= factsAge {
		facts := v1alpha1.Facts{ObservedAt: metav1.NewTime(now.Truncate(time.Second))}
		if away = e.gatherFacts(ctx, &facts); away == nil {
			c.facts, c.at = facts, now
		}
	}
	facts := *c.facts.DeepCopy()
	facts.Limits = e.Limits().Words()
	return facts, away
}

func (e *Engine) gatherFacts(ctx context.Context, f *v1alpha1.Facts) error {
	for _, gather := range []func(context.Context, *v1alpha1.Facts) error{
		e.versionFacts, e.nodeFacts, e.podFacts, e.classFacts, e.namespaceFacts,
	} {
		err := gather(ctx, f)
		if unreachable(err) {
			return err
		}
		if err != nil {
			e.log.Warn("some facts cannot be read", "error", err)
		}
	}
	return nil
}

func (e *Engine) versionFacts(_ context.Context, f *v1alpha1.Facts) error {
	version, err := e.clients.discover.ServerVersion()
	if err != nil {
		return fmt.Errorf("read the member's version: %w", err)
	}
	f.KubernetesVersion, f.Platform = version.GitVersion, version.Platform
	groups, err := e.clients.discover.ServerGroups()
	if err != nil {
		return fmt.Errorf("read the member's API groups: %w", err)
	}
	for _, g := range groups.Groups {
		if !strings.Contains(g.Name, ".") || strings.HasSuffix(g.Name, ".k8s.io") && coreGroups[g.Name] {
			continue
		}
		for _, v := range g.Versions {
			f.APIGroups = append(f.APIGroups, v.GroupVersion)
		}
	}
	slices.Sort(f.APIGroups)
	return nil
}

// coreGroups come with every Kubernetes; others ending in .k8s.io, such as
// gateway.networking.k8s.io, tell something.
var coreGroups = map[string]bool{
	"admissionregistration.k8s.io": true, "apiextensions.k8s.io": true, "apiregistration.k8s.io": true,
	"authentication.k8s.io": true, "authorization.k8s.io": true, "certificates.k8s.io": true,
	"coordination.k8s.io": true, "discovery.k8s.io": true, "events.k8s.io": true,
	"flowcontrol.apiserver.k8s.io": true, "internal.apiserver.k8s.io": true, "networking.k8s.io": true,
	"node.k8s.io": true, "rbac.authorization.k8s.io": true, "resource.k8s.io": true,
	"scheduling.k8s.io": true, "storage.k8s.io": true, "storagemigration.k8s.io": true,
}

func core(resourceName string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Version: "v1", Resource: resourceName}
}

// each hands on every object of a resource, a page at a time.
func (e *Engine) each(ctx context.Context, gvr schema.GroupVersionResource, full bool, see func(runtime.Object) error) error {
	options := metav1.ListOptions{Limit: pageSize}
	for {
		page, err := e.listPage(ctx, watchSpec{kind: kind{gvr: gvr}, full: full}, options)
		if err != nil {
			return err
		}
		if err := meta.EachListItem(page.list, see); err != nil {
			return fmt.Errorf("read %s: %w", gvr.Resource, err)
		}
		if options.Continue = page.next; options.Continue == "" {
			return nil
		}
	}
}

func (e *Engine) nodeFacts(ctx context.Context, f *v1alpha1.Facts) error {
	regions, zones, types, providers := map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]int{}
	f.Capacity, f.Allocatable = map[string]resource.Quantity{}, map[string]resource.Quantity{}
	err := e.each(ctx, core("nodes"), true, func(item runtime.Object) error {
		var node corev1.Node
		u, ok := item.(*unstructured.Unstructured)
		if !ok {
			return nil
		}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &node); err != nil {
			return fmt.Errorf("node %s: %w", u.GetName(), err)
		}
		f.Nodes++
		if nodeReady(node) {
			f.NodesReady++
		}
		add(regions, node.Labels[corev1.LabelTopologyRegion])
		add(zones, node.Labels[corev1.LabelTopologyZone])
		add(types, node.Labels[corev1.LabelInstanceTypeStable])
		if scheme, _, ok := strings.Cut(node.Spec.ProviderID, "://"); ok {
			providers[scheme]++
		}
		sum(f.Capacity, node.Status.Capacity)
		sum(f.Allocatable, node.Status.Allocatable)
		return nil
	})
	f.Regions, f.Zones, f.InstanceTypes = sorted(regions), sorted(zones), sorted(types)
	f.Provider = commonest(providers)
	return err
}

func nodeReady(n corev1.Node) bool {
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// providerNames are what people call the schemes of a node's providerID.
var providerNames = map[string]string{"aws": "eks", "gce": "gke", "azure": "aks"}

func commonest(providers map[string]int) string {
	best := ""
	for _, name := range slices.Sorted(maps.Keys(providers)) {
		if best == "" || providers[name] > providers[best] {
			best = name
		}
	}
	if name, ok := providerNames[best]; ok {
		return name
	}
	return best
}

func (e *Engine) podFacts(ctx context.Context, f *v1alpha1.Facts) error {
	f.Requested = map[string]resource.Quantity{}
	return e.each(ctx, core("pods"), true, func(item runtime.Object) error {
		u, ok := item.(*unstructured.Unstructured)
		if !ok {
			return nil
		}
		switch phase, _, _ := unstructured.NestedString(u.Object, "status", "phase"); phase {
		case string(corev1.PodSucceeded), string(corev1.PodFailed):
			return nil
		}
		f.Pods++
		for name, q := range podRequests(u.Object) {
			total := f.Requested[name]
			total.Add(q)
			f.Requested[name] = total
		}
		return nil
	})
}

// podRequests follows the scheduler: the containers and sidecars together, or
// the largest init container with the sidecars started before it, plus overhead.
func podRequests(pod map[string]any) map[string]resource.Quantity {
	total, sidecars, initial := map[string]resource.Quantity{}, map[string]resource.Quantity{}, map[string]resource.Quantity{}
	for _, c := range nestedMaps(pod, "spec", "initContainers") {
		own := requests(c)
		if c["restartPolicy"] == string(corev1.ContainerRestartPolicyAlways) {
			addAll(sidecars, own)
			raise(initial, sidecars)
			continue
		}
		addAll(own, sidecars)
		raise(initial, own)
	}
	for _, c := range nestedMaps(pod, "spec", "containers") {
		addAll(total, requests(c))
	}
	addAll(total, sidecars)
	raise(total, initial)
	overhead, _, _ := unstructured.NestedMap(pod, "spec", "overhead")
	addAll(total, quantities(overhead))
	return total
}

func requests(container map[string]any) map[string]resource.Quantity {
	asked, _, _ := unstructured.NestedMap(container, "resources", "requests")
	return quantities(asked)
}

func quantities(m map[string]any) map[string]resource.Quantity {
	out := map[string]resource.Quantity{}
	for name, v := range m {
		if q, err := resource.ParseQuantity(fmt.Sprint(v)); err == nil {
			out[name] = q
		}
	}
	return out
}

func addAll(into, from map[string]resource.Quantity) {
	for name, q := range from {
		total := into[name]
		total.Add(q)
		into[name] = total
	}
}

func raise(into, from map[string]resource.Quantity) {
	for name, q := range from {
		if have, ok := into[name]; !ok || have.Cmp(q) < 0 {
			into[name] = q.DeepCopy()
		}
	}
}

func nestedMaps(obj map[string]any, fields ...string) []map[string]any {
	v, _, _ := unstructured.NestedFieldNoCopy(obj, fields...)
	list, _ := v.([]any)
	out := make([]map[string]any, 0, len(list))
	for _, item := range list {
		if m, ok := item.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}

func (e *Engine) classFacts(ctx context.Context, f *v1alpha1.Facts) error {
	storage, errStorage := e.classes(ctx, schema.GroupVersionResource{Group: "storage.k8s.io", Version: "v1", Resource: "storageclasses"}, "storageclass.kubernetes.io/is-default-class")
	ingress, errIngress := e.classes(ctx, schema.GroupVersionResource{Group: "networking.k8s.io", Version: "v1", Resource: "ingressclasses"}, "ingressclass.kubernetes.io/is-default-class")
	f.StorageClasses, f.IngressClasses = storage, ingress
	return errors.Join(errStorage, errIngress)
}

// classes are names, the default first.
func (e *Engine) classes(ctx context.Context, gvr schema.GroupVersionResource, defaultAnnotation string) ([]string, error) {
	var defaults, others []string
	err := e.each(ctx, gvr, false, func(item runtime.Object) error {
		m, err := meta.Accessor(item)
		if err != nil {
			return err
		}
		if m.GetAnnotations()[defaultAnnotation] == "true" {
			defaults = append(defaults, m.GetName())
		} else {
			others = append(others, m.GetName())
		}
		return nil
	})
	slices.Sort(defaults)
	slices.Sort(others)
	if apierrors.IsNotFound(err) {
		err = nil
	}
	return append(defaults, others...), err
}

func (e *Engine) namespaceFacts(ctx context.Context, f *v1alpha1.Facts) error {
	return e.each(ctx, namespaces.gvr, false, func(runtime.Object) error { f.Namespaces++; return nil })
}

func add(set map[string]bool, name string) {
	if name != "" {
		set[name] = true
	}
}

func sorted(set map[string]bool) []string { return slices.Sorted(maps.Keys(set)) }

func sum(into map[string]resource.Quantity, from corev1.ResourceList) {
	for name, q := range from {
		total := into[string(name)]
		total.Add(q)
		into[string(name)] = total
	}
}
