package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/warning"
	"k8s.io/client-go/kubernetes"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/apiserver"
	"atoll.dev/atoll/internal/assign"
	"atoll.dev/atoll/internal/validate"
)

// admit judges writes to Atoll's own objects: internal/validate says what is
// wrong and which further verb a change needs, the API server's authorizer
// says who has it.
type admit struct {
	// client is late: the API server must run before it can be asked.
	client func() (kubernetes.Interface, error)
	// namespace is the hub's own.
	namespace string
	// shared tells that it is in a cluster that others may use too.
	shared bool
	own    ownName
}

// Judges wants every resource of atoll.dev.
func (a *admit) Judges(r schema.GroupVersionResource) bool {
	return r.Group == v1alpha1.GroupVersion.Group
}

// Validate refuses with the fields at fault, or with the verb that lacks.
func (a *admit) Validate(ctx context.Context, w apiserver.Write) error {
	switch {
	case w.Subresource != "":
		return nil
	case w.Operation == admission.Delete:
		return errors.Join(a.managed(ctx, w), a.thawed(ctx, w), unguarded(w), a.steers(ctx, w))
	}
	if err := a.managed(ctx, w); err != nil {
		return err
	}
	if err := validate.Object(w.Kind, w.New, w.Old); err != nil {
		return err
	}
	if err := errors.Join(a.acyclic(ctx, w), a.given(ctx, w)); err != nil {
		return err
	}
	if w.Kind.Kind == "Project" && w.Operation == admission.Create && w.New.GetName() == a.namespace {
		return field.Forbidden(field.NewPath("metadata", "name"), "namespace "+a.namespace+" is where the hub keeps its own; choose another name")
	}
	if w.Kind.Kind == "Project" {
		a.warn(ctx, w.New)
	}
	for _, p := range validate.Privileges(w.Kind, w.New, w.Old) {
		allowed, err := a.allowed(ctx, w, p)
		if err != nil {
			return apierrors.NewInternalError(err)
		}
		if !allowed {
			return apierrors.NewForbidden(p.Resource, p.Name,
				fmt.Errorf("changing %s needs the verb %q on %s beside %q", p.Field, p.Verb, p.Resource, "update"))
		}
	}
	return nil
}

// steers refuses the deletion of the rollout that its application travels by:
// it alone records which clusters were told what, and without it some would be
// told of an older version.
func (a *admit) steers(ctx context.Context, w apiserver.Write) error {
	run := &v1alpha1.RolloutRun{}
	if w.Kind.Kind != "RolloutRun" || w.Old == nil || runtime.DefaultUnstructuredConverter.FromUnstructured(w.Old.Object, run) != nil {
		return nil
	}
	client, err := a.client()
	if err != nil {
		return apierrors.NewInternalError(err)
	}
	app := &v1alpha1.Application{}
	data, err := client.Discovery().RESTClient().Get().
		AbsPath("/apis", v1alpha1.GroupVersion.Group, v1alpha1.GroupVersion.Version, "namespaces", run.Namespace, "applications", run.Spec.Plan.Application).DoRaw(ctx)
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case err == nil:
		err = json.Unmarshal(data, app)
	}
	if err != nil {
		return apierrors.NewInternalError(fmt.Errorf("read the application of rollout %s: %w", run.Name, err))
	}
	if app.Status.Rollout != run.Name || app.DeletionTimestamp != nil || !metav1.IsControlledBy(run, app) {
		return nil
	}
	return apierrors.NewForbidden(w.Resource.GroupResource(), run.Name,
		fmt.Errorf("it records which clusters of application %s were told what; take back what it brings with: atoll rollout abort app/%s", app.Name, app.Name))
}

// warn tells who writes a project what it takes from others, and they from it.
// What cannot be read now is told by the projects' status.
func (a *admit) warn(ctx context.Context, written *unstructured.Unstructured) {
	project := &v1alpha1.Project{}
	client, err := a.client()
	if err != nil || runtime.DefaultUnstructuredConverter.FromUnstructured(written.Object, project) != nil {
		return
	}
	read := func(resource string, into any) error {
		data, err := client.Discovery().RESTClient().Get().AbsPath("/apis", v1alpha1.GroupVersion.Group, v1alpha1.GroupVersion.Version, resource).DoRaw(ctx)
		if err != nil {
			return err
		}
		return json.Unmarshal(data, into)
	}
	var projects v1alpha1.ProjectList
	var clusters v1alpha1.ClusterList
	if errors.Join(read("projects", &projects), read("clusters", &clusters)) != nil {
		return
	}
	for _, overlap := range assign.Overlaps(project, projects.Items, clusters.Items) {
		warning.AddWarning(ctx, "", overlap)
	}
}

func (a *admit) allowed(ctx context.Context, w apiserver.Write, p validate.Privilege) (bool, error) {
	client, err := a.client()
	if err != nil {
		return false, err
	}
	extra := map[string]authorizationv1.ExtraValue{}
	for k, v := range w.User.GetExtra() {
		extra[k] = v
	}
	review, err := client.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{
		Spec: authorizationv1.SubjectAccessReviewSpec{
			User: w.User.GetName(), Groups: w.User.GetGroups(), UID: w.User.GetUID(), Extra: extra,
			ResourceAttributes: &authorizationv1.ResourceAttributes{
				Verb: p.Verb, Group: p.Resource.Group, Resource: p.Resource.Resource, Namespace: p.Namespace, Name: p.Name,
			},
		},
	}, metav1CreateOptions)
	if err != nil {
		return false, fmt.Errorf("ask whether %s may %s %s: %w", w.User.GetName(), p.Verb, p.Resource, err)
	}
	return review.Status.Allowed, nil
}
