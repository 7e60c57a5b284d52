package server

import (
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"

	"atoll.dev/atoll/internal/plan"
)

// lifecycle is what Kubernetes' own types say of themselves, as generated from
// its sources.
func lifecycle(gvk schema.GroupVersionKind) (l plan.Lifecycle, own bool) {
	if !scheme.Scheme.IsGroupRegistered(gvk.Group) {
		return l, false
	}
	object, err := scheme.Scheme.New(gvk)
	if err != nil {
		return l, true
	}
	l.Known = true
	if o, ok := object.(interface{ APILifecycleIntroduced() (int, int) }); ok {
		l.Introduced = release(o.APILifecycleIntroduced())
	}
	if o, ok := object.(interface{ APILifecycleDeprecated() (int, int) }); ok {
		l.Deprecated = release(o.APILifecycleDeprecated())
	}
	if o, ok := object.(interface{ APILifecycleRemoved() (int, int) }); ok {
		l.Removed = release(o.APILifecycleRemoved())
	}
	if o, ok := object.(interface {
		APILifecycleReplacement() schema.GroupVersionKind
	}); ok {
		version, kind := o.APILifecycleReplacement().ToAPIVersionAndKind()
		l.Replacement = version + " " + kind
	}
	return l, true
}

func release(major, minor int) plan.Release { return plan.Release{Major: major, Minor: minor} }
