package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/version"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/placement"
	"atoll.dev/atoll/internal/report"
)

// Lifecycle is when a kind of Kubernetes came and when it goes; zero where
// that is not decided.
type Lifecycle struct {
	// Known is false for what no Kubernetes that we know of has served.
	Known                           bool
	Introduced, Deprecated, Removed Release
	// Replacement is what to use instead, such as "policy/v1 PodDisruptionBudget".
	Replacement string
}

// Release is a minor release of Kubernetes.
type Release struct{ Major, Minor int }

// reached tells that a cluster of that version has the release, or a later one.
func (r Release) reached(v *version.Version) bool {
	return r != Release{} && v.AtLeast(version.MajorMinor(uint(r.Major), uint(r.Minor)))
}

func (r Release) String() string { return fmt.Sprintf("%d.%d", r.Major, r.Minor) }

// ofEvery are groups that every API server has and k8s.io/api does not describe.
var ofEvery = map[string]bool{"apiextensions.k8s.io": true, "apiregistration.k8s.io": true}

// apis holds the kinds that would be delivered against what each cluster serves.
func (m *maker) apis() {
	found := map[string]*API{}
	var order []*API
	silent := map[string]bool{}
	for _, c := range m.classes {
		defined := definitions(c.after)
		for _, kind := range kindsOf(c.after) {
			if defined[kind.gvk] {
				continue
			}
			for _, member := range c.members {
				if member.Name == placement.Hub {
					continue // it serves all that it may be asked to take
				}
				if member.Facts == nil {
					silent[member.Name] = true
					continue
				}
				level, message := m.judge(kind.gvk, member.Facts)
				if level == "" {
					continue
				}
				key := fmt.Sprint(level, kind.gvk, message)
				if found[key] == nil {
					version, name := kind.gvk.ToAPIVersionAndKind()
					found[key] = &API{Level: level, Version: version, Kind: name, Message: message, Objects: kind.objects}
					order = append(order, found[key])
				}
				found[key].Clusters = append(found[key].Clusters, member.Name)
			}
		}
	}
	for _, a := range order {
		slices.Sort(a.Clusters)
		a.Clusters = slices.Compact(a.Clusters)
		m.plan.APIs = append(m.plan.APIs, *a)
	}
	slices.SortStableFunc(m.plan.APIs, func(a, b API) int {
		return cmp.Or(-cmp.Compare(a.Level, b.Level), cmp.Compare(a.Version, b.Version), cmp.Compare(a.Kind, b.Kind))
	})
	for _, c := range m.Clusters {
		if silent[c.Name] {
			m.unknown(c.Name, "its agent has told nothing of the cluster yet, so which APIs it serves is not known")
		}
	}
}

// judge says what is wrong with a kind on one cluster, if anything.
func (m *maker) judge(gvk schema.GroupVersionKind, f *v1alpha1.Facts) (Level, string) {
	l, own := m.Lifecycle(gvk)
	if !own {
		if ofEvery[gvk.Group] || slices.Contains(f.APIGroups, gvk.GroupVersion().String()) {
			return "", ""
		}
		return Missing, gvk.GroupVersion().String() + " is not served there; deliver its CustomResourceDefinition first"
	}
	v, err := version.ParseGeneric(f.KubernetesVersion)
	instead := ""
	if l.Replacement != "" {
		instead = "; use " + l.Replacement
	}
	switch {
	case !l.Known:
		return Missing, "no Kubernetes that this hub knows serves it; check apiVersion and kind"
	case err != nil:
		return "", ""
	case l.Removed.reached(v):
		return Missing, "Kubernetes serves it no more since " + l.Removed.String() + instead
	case l.Introduced != Release{} && !l.Introduced.reached(v):
		return Missing, "Kubernetes serves it from " + l.Introduced.String() + " on"
	case l.Deprecated.reached(v):
		until := ""
		if l.Removed != (Release{}) {
			until = " and goes with " + l.Removed.String()
		}
		return Deprecated, "it is deprecated since Kubernetes " + l.Deprecated.String() + until + instead
	}
	return "", ""
}

// used is a kind with the objects of it.
type used struct {
	gvk     schema.GroupVersionKind
	objects []report.ObjectRef
}

func kindsOf(objects []object) []used {
	var all []used
	at := map[schema.GroupVersionKind]int{}
	for _, o := range objects {
		gvk := schema.GroupVersionKind{Group: o.ref.Group, Version: o.ref.Version, Kind: o.ref.Kind}
		i, ok := at[gvk]
		if !ok {
			i, at[gvk] = len(all), len(all)
			all = append(all, used{gvk: gvk})
		}
		if len(all[i].objects) < MaxObjects {
			all[i].objects = append(all[i].objects, o.ref)
		}
	}
	return all
}

// definitions are the kinds that the objects define themselves.
func definitions(objects []object) map[schema.GroupVersionKind]bool {
	defined := map[schema.GroupVersionKind]bool{}
	for _, o := range objects {
		if o.ref.Kind != "CustomResourceDefinition" || !ofEvery[o.ref.Group] {
			continue
		}
		group, _, _ := unstructured.NestedString(o.manifest, "spec", "group")
		kind, _, _ := unstructured.NestedString(o.manifest, "spec", "names", "kind")
		versions, _, _ := unstructured.NestedSlice(o.manifest, "spec", "versions")
		for _, v := range versions {
			name, _, _ := unstructured.NestedString(asMap(v), "name")
			if served, _, _ := unstructured.NestedBool(asMap(v), "served"); served && strings.TrimSpace(name) != "" {
				defined[schema.GroupVersionKind{Group: group, Version: name, Kind: kind}] = true
			}
		}
	}
	return defined
}

func asMap(v any) map[string]any {
	m, _ := v.(map[string]any)
	return m
}
