package application

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/assign"
	"atoll.dev/atoll/internal/depot"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/placement"
	"atoll.dev/atoll/internal/report"
)

// gather makes the content durable and reads everything the plan needs, but for
// the content, which is read while planning: unread is why it could not be.
func (r *Intent) gather(ctx context.Context, app *v1alpha1.Application, unread *error) (assign.State, depot.Content, error) {
	s := assign.State{App: r.remembered(app)}
	project := &v1alpha1.Project{}
	switch err := r.Client.Get(ctx, types.NamespacedName{Name: app.Namespace}, project); {
	case err == nil:
		s.Project = project
	case !apierrors.IsNotFound(err):
		return s, depot.Content{}, fmt.Errorf("read project %s: %w", app.Namespace, err)
	default:
		return s, depot.Content{}, nil
	}
	var clusters v1alpha1.ClusterList
	if err := r.Client.List(ctx, &clusters, client.UnsafeDisableDeepCopy); err != nil {
		return s, depot.Content{}, fmt.Errorf("list clusters: %w", err)
	}
	s.Clusters = clusters.Items
	if placement.TargetsHub(app) {
		s.Clusters = []v1alpha1.Cluster{placement.HubCluster()}
	}
	var projects v1alpha1.ProjectList
	if err := r.Client.List(ctx, &projects, client.UnsafeDisableDeepCopy); err != nil {
		return s, depot.Content{}, fmt.Errorf("list projects: %w", err)
	}
	project = assign.Bound(project, projects.Items, clusters.Items)
	s.Project = project
	var err error
	if s.Rule, s.RuleErr, err = r.rule(ctx, app); err != nil {
		return s, depot.Content{}, err
	}
	namespace := desired.MemberNamespace(app, project)
	content, err := r.content(ctx, app, namespace, &s)
	if err != nil {
		return s, content, err
	}
	s.Check = func(e desired.Entry) []report.Problem {
		problems, err := r.Depot.Check(ctx, project, e)
		*unread = cmp.Or(*unread, err)
		return problems
	}
	s.Released = r.released
	content, err = r.pin(ctx, app, &s, content)
	return s, content, err
}

// content admits the present source; when it is refused, the last admitted
// revision is what may be delivered.
func (r *Intent) content(ctx context.Context, app *v1alpha1.Application, namespace string, s *assign.State) (depot.Content, error) {
	content, err := r.Depot.Admit(ctx, app, namespace)
	if err == nil {
		content = content.With(app.Spec.Overrides)
		err = r.deliver(ctx, app, s, content)
	}
	var refused *depot.Refused
	switch {
	case err == nil:
		return content, nil
	case !errors.As(err, &refused):
		return content, err
	}
	s.ContentErr = refused
	return depot.Content{}, r.last(ctx, app, s)
}

// last puts the last admitted revision, if there is one, where the present
// source would be.
func (r *Intent) last(ctx context.Context, app *v1alpha1.Application, s *assign.State) error {
	s.Content, s.Contents, s.Variants = "", nil, nil
	revision, err := r.revision(ctx, app)
	if revision == nil || err != nil {
		return err
	}
	var refused *depot.Refused
	if err := r.deliver(ctx, app, s, depot.Recorded(revision)); !errors.As(err, &refused) {
		return err
	}
	return nil // the clusters keep what they have
}

// revision is the one that the status names; nil when there is none.
func (r *Intent) revision(ctx context.Context, app *v1alpha1.Application) (*v1alpha1.Revision, error) {
	if app.Status.Revision == "" {
		return nil, nil
	}
	revision := &v1alpha1.Revision{}
	if err := r.Client.Get(ctx, types.NamespacedName{Namespace: app.Namespace, Name: app.Status.Revision}, revision); err != nil {
		if apierrors.IsNotFound(err) {
			return nil, nil
		}
		return nil, fmt.Errorf("read revision %s: %w", app.Status.Revision, err)
	}
	return revision, nil
}

// rule is the effective placement, or why there is none.
func (r *Intent) rule(ctx context.Context, app *v1alpha1.Application) (rule *placement.Rule, invalid, err error) {
	if app.Spec.Placement == nil {
		return nil, nil, nil
	}
	var named *v1alpha1.PlacementRule
	if ref := app.Spec.Placement.Ref; ref != "" {
		p := &v1alpha1.Placement{}
		switch err := r.Client.Get(ctx, types.NamespacedName{Name: ref}, p); {
		case err == nil:
			named = &p.Spec
		case !apierrors.IsNotFound(err):
			return nil, nil, fmt.Errorf("read placement %s: %w", ref, err)
		}
	}
	spec, invalid := placement.Effective(*app.Spec.Placement, named)
	if invalid != nil {
		return nil, invalid, nil
	}
	rule, invalid = r.rules.Compile(spec)
	return rule, invalid, nil
}
