package server

import (
	"context"
	"fmt"
	"net/http"

	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/authentication/user"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/fleet"
)

// allowed refuses a plan of what the caller could not do: it would tell of
// objects that are not theirs to see.
func (p *planner) allowed(r *http.Request, project string, asked *fleet.PlanRequest) error {
	who, err := caller(r)
	if err != nil {
		return err
	}
	for i := range asked.Applications {
		if err := p.mayWrite(r, who, "applications", &asked.Applications[i]); err != nil {
			return err
		}
	}
	for i := range asked.Projects {
		if err := p.mayWrite(r, who, "projects", &asked.Projects[i]); err != nil {
			return err
		}
	}
	for i := range asked.Placements {
		if err := p.mayWrite(r, who, "placements", &asked.Placements[i]); err != nil {
			return err
		}
	}
	for i := range asked.Clusters {
		if err := p.mayWrite(r, who, "clusters", &asked.Clusters[i]); err != nil {
			return err
		}
	}
	for _, name := range asked.Names {
		if err := p.may(r, who, "applications", types.NamespacedName{Namespace: project, Name: name}, "get"); err != nil {
			return err
		}
	}
	if len(asked.Projects)+len(asked.Placements)+len(asked.Clusters) == 0 {
		return nil
	}
	return p.may(r, who, "applications", types.NamespacedName{Namespace: project}, "list")
}

// mayWrite asks for the verb of a creation, or for one of those of a change.
func (p *planner) mayWrite(r *http.Request, who user.Info, resource string, o client.Object) error {
	name := client.ObjectKeyFromObject(o)
	there := o.DeepCopyObject().(client.Object)
	err := p.get(r.Context(), name, there)
	switch {
	case apierrors.IsNotFound(err):
		return p.may(r, who, resource, name, "create")
	case err != nil:
		return err
	}
	return p.may(r, who, resource, name, "patch", "update")
}

func (p *planner) may(r *http.Request, who user.Info, of string, name types.NamespacedName, verbs ...string) error {
	for _, verb := range verbs {
		if allowed, err := mayDo(r.Context(), p.Intent.Client, who, verb, of, name); allowed || err != nil {
			return err
		}
	}
	return apierrors.NewForbidden(resource(of), name.Name, fmt.Errorf("to plan it takes the right to do it, the verb %q on %s", verbs[0], of))
}

// mayDo asks the hub whether somebody may do something to one of its objects.
func mayDo(ctx context.Context, c client.Client, who user.Info, verb, of string, name types.NamespacedName) (bool, error) {
	extra := map[string]authorizationv1.ExtraValue{}
	for k, v := range who.GetExtra() {
		extra[k] = v
	}
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: who.GetName(), Groups: who.GetGroups(), UID: who.GetUID(), Extra: extra,
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Verb: verb, Group: v1alpha1.GroupVersion.Group, Resource: of, Namespace: name.Namespace, Name: name.Name,
		},
	}}
	if err := c.Create(ctx, review); err != nil {
		return false, fmt.Errorf("ask whether %s may %s %s: %w", who.GetName(), verb, of, err)
	}
	return review.Status.Allowed, nil
}
