package hub

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/apiserver"
	"atoll.dev/atoll/internal/validate"
)

// acyclic refuses an application that would wait for itself by way of others. Two
// that are written at the same moment may still do so: then both are told by their
// condition Accepted.
func (a *admit) acyclic(ctx context.Context, w apiserver.Write) error {
	if w.Kind.Kind != "Application" {
		return nil
	}
	written, before := &v1alpha1.Application{}, &v1alpha1.Application{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(w.New.Object, written); err != nil {
		return apierrors.NewInternalError(fmt.Errorf("read the application: %w", err))
	}
	if w.Old != nil {
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(w.Old.Object, before); err != nil {
			return apierrors.NewInternalError(fmt.Errorf("read the application as it was: %w", err))
		}
	}
	if after := validate.DependsOn(written); len(after) == 0 || slices.Equal(after, validate.DependsOn(before)) {
		return nil
	}
	way, err := validate.Cycle(written.Name, func(name string) ([]string, error) {
		if name == written.Name {
			return validate.DependsOn(written), nil
		}
		return a.dependsOn(ctx, written.Namespace, name)
	})
	switch {
	case err != nil:
		return apierrors.NewInternalError(err)
	case way != nil:
		return field.Invalid(field.NewPath("spec", "dependsOn"), way[1], "they would wait for each other: "+strings.Join(way, " waits for "))
	}
	return nil
}

// dependsOn is what an application depends on; nothing when it does not exist yet.
func (a *admit) dependsOn(ctx context.Context, namespace, name string) ([]string, error) {
	client, err := a.client()
	if err != nil {
		return nil, err
	}
	data, err := client.Discovery().RESTClient().Get().
		AbsPath("/apis", v1alpha1.GroupVersion.Group, v1alpha1.GroupVersion.Version, "namespaces", namespace, "applications", name).DoRaw(ctx)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	app := &v1alpha1.Application{}
	if err == nil {
		err = json.Unmarshal(data, app)
	}
	if err != nil {
		return nil, fmt.Errorf("read application %s, which is depended on: %w", name, err)
	}
	return validate.DependsOn(app), nil
}
