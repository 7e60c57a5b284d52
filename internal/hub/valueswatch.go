package hub

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/valuesfrom"
)

// watchValues prepares to notice when Secrets and ConfigMaps change that
// applications take values from. What they hold is not asked for, and those of the
// hub itself are left out. A host that does not let the hub watch them is no
// failure: they are looked at again with each look at the source.
func (h *hub) watchValues() (cache.Cache, error) {
	h.valuesPulse = newPulse(time.Second, 100, applicationNamed)
	noted := cache.ByObject{Field: fields.OneTermNotEqualSelector("metadata.namespace", h.Namespace)}
	watched, err := cache.New(h.mgr.GetConfig(), cache.Options{
		Scheme: h.mgr.GetScheme(), Mapper: h.mgr.GetRESTMapper(), DefaultTransform: onlyNames,
		ByObject: map[client.Object]cache.ByObject{metadataOf(valuesfrom.Secret): noted, metadataOf(valuesfrom.ConfigMap): noted},
		DefaultWatchErrorHandler: func(ctx context.Context, r *toolscache.Reflector, err error) {
			if !apierrors.IsForbidden(err) {
				toolscache.DefaultWatchErrorHandler(ctx, r, err)
			}
		},
	})
	if err != nil {
		return nil, fmt.Errorf("prepare to watch values: %w", err)
	}
	for _, kind := range []string{valuesfrom.Secret, valuesfrom.ConfigMap} {
		informer, err := watched.GetInformer(context.Background(), metadataOf(kind), cache.BlockUntilSynced(false))
		if err != nil {
			return nil, fmt.Errorf("watch values in %ss: %w", kind, err)
		}
		changed := func(o any) { h.valuesChanged(kind, o) }
		if _, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
			AddFunc: changed, UpdateFunc: func(_, o any) { changed(o) }, DeleteFunc: changed,
		}); err != nil {
			return nil, fmt.Errorf("watch values in %ss: %w", kind, err)
		}
	}
	return watched, nil
}

// metadataOf are objects of a kind by their metadata.
func metadataOf(kind string) *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: corev1.SchemeGroupVersion.String(), Kind: kind}}
}

// onlyNames keeps what is needed to tell that something changed.
func onlyNames(o any) (any, error) {
	if m, ok := o.(*metav1.PartialObjectMetadata); ok {
		return &metav1.PartialObjectMetadata{TypeMeta: m.TypeMeta, ObjectMeta: metav1.ObjectMeta{
			Namespace: m.Namespace, Name: m.Name, UID: m.UID, ResourceVersion: m.ResourceVersion,
		}}, nil
	}
	return o, nil
}

// valuesChanged has those looked at that name the object.
func (h *hub) valuesChanged(kind string, o any) {
	if gone, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
		o = gone.Obj
	}
	m, ok := o.(*metav1.PartialObjectMetadata)
	if !ok {
		return
	}
	var apps v1alpha1.ApplicationList
	if err := h.mgr.GetClient().List(context.Background(), &apps, client.InNamespace(m.Namespace), client.UnsafeDisableDeepCopy); err != nil {
		h.Log.Error("applications cannot be listed", "project", m.Namespace, "err", err)
	}
	for i := range apps.Items {
		helm := apps.Items[i].Spec.Source.Helm
		if helm != nil && slices.ContainsFunc(helm.ValuesFrom, func(v v1alpha1.ValuesReference) bool { return v.Kind == kind && v.Name == m.Name }) {
			h.valuesPulse.add(types.NamespacedName{Namespace: m.Namespace, Name: apps.Items[i].Name})
		}
	}
}
