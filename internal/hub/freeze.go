package hub

import (
	"context"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/apiserver"
	"atoll.dev/atoll/internal/clock"
	"atoll.dev/atoll/internal/rollout"
)

// freezeOnly has the controllers watch one ConfigMap and no other: the one that
// freezes everything.
func freezeOnly(namespace string) cache.Options {
	return cache.Options{ByObject: map[client.Object]cache.ByObject{
		&corev1.ConfigMap{}: {
			Namespaces: map[string]cache.Config{namespace: {}},
			Field:      fields.OneTermEqualSelector("metadata.name", v1alpha1.FreezeName),
		},
	}}
}

// frozenChanged has an application looked at again once the cache shows that it
// was written down as frozen, or as thawed: a thaw that came between that write
// and its echo was held against a status that did not show it yet.
var frozenChanged = onUpdate(func(before, after *v1alpha1.Application) bool {
	frozen := func(app *v1alpha1.Application) bool {
		return meta.FindStatusCondition(app.Status.Conditions, v1alpha1.ConditionFrozen) != nil
	}
	return frozen(before) != frozen(after)
})

// freeze is the freeze of everything, nil when there is none.
func (h *hub) freeze(ctx context.Context) (*v1alpha1.Freeze, error) {
	stored := &corev1.ConfigMap{}
	err := h.mgr.GetClient().Get(ctx, client.ObjectKey{Namespace: h.Namespace, Name: v1alpha1.FreezeName}, stored)
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read whether everything is frozen: %w", err)
	}
	return rollout.ParseFreeze(stored.Data), nil
}

// thawed refuses the deletion of an application while it is frozen: its clusters
// would be told to let go of it.
func (a *admit) thawed(ctx context.Context, w apiserver.Write) error {
	app := &v1alpha1.Application{}
	if w.Kind.Kind != "Application" || w.Old == nil || runtime.DefaultUnstructuredConverter.FromUnstructured(w.Old.Object, app) != nil {
		return nil
	}
	frozen, err := a.frozen(ctx, app)
	if err != nil {
		return apierrors.NewInternalError(err)
	}
	if frozen == nil {
		return nil
	}
	return apierrors.NewForbidden(w.Resource.GroupResource(), app.Name, fmt.Errorf("%s; thaw it first with: %s", frozen.Why(), frozen.Thaw))
}

// frozen is the freeze in force over an application, as it is stored.
func (a *admit) frozen(ctx context.Context, app *v1alpha1.Application) (*rollout.Frozen, error) {
	kube, err := a.client()
	if err != nil {
		return nil, err
	}
	api, project, stored := kube.Discovery().RESTClient(), &v1alpha1.Project{}, &corev1.ConfigMap{}
	path := []string{"/apis", v1alpha1.GroupVersion.Group, v1alpha1.GroupVersion.Version, "projects", app.Namespace}
	if err := readInto(ctx, api, project, path...); err != nil {
		return nil, fmt.Errorf("read project %s: %w", app.Namespace, err)
	}
	if err := readInto(ctx, api, stored, "/api/v1/namespaces", a.namespace, "configmaps", v1alpha1.FreezeName); err != nil {
		return nil, fmt.Errorf("read whether everything is frozen: %w", err)
	}
	var all *v1alpha1.Freeze
	if stored.Name != "" {
		all = rollout.ParseFreeze(stored.Data)
	}
	return rollout.FrozenBy(all, project, app, clock.Now()), nil
}

// readInto leaves what is not there as it is.
func readInto(ctx context.Context, api rest.Interface, into any, path ...string) error {
	data, err := api.Get().AbsPath(path...).DoRaw(ctx)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(data, into)
}
