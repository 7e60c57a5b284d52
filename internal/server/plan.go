package server

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/content"
	"atoll.dev/atoll/internal/controllers/application"
	"atoll.dev/atoll/internal/depot"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/fleet"
	"atoll.dev/atoll/internal/plan"
)

// atOnce bounds the uploads and contents that plans hold in memory.
const atOnce = 2

// planner answers what a change would do, and makes none.
type planner struct {
	*server
	room chan struct{}
}

func newPlanner(s *server) *planner { return &planner{server: s, room: make(chan struct{}, atOnce)} }

func (p *planner) plan(r *http.Request) (any, error) {
	ctx, project := r.Context(), r.PathValue("project")
	// Room first: the request itself may be large.
	select {
	case p.room <- struct{}{}:
		defer func() { <-p.room }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	asked, err := readPlanRequest(r)
	if err != nil {
		return nil, err
	}
	if err := p.allowed(r, project, asked); err != nil {
		return nil, err
	}
	select {
	case <-p.Book.Complete():
	case <-ctx.Done():
		return nil, apierrors.NewServiceUnavailable("the hub has just started and is still working out what the clusters run")
	}
	return p.answer(ctx, project, asked)
}

func readPlanRequest(r *http.Request) (*fleet.PlanRequest, error) {
	asked := &fleet.PlanRequest{}
	body := http.MaxBytesReader(nil, r.Body, fleet.MaxUpload*4/3+1<<20) // base64 in JSON
	if err := json.NewDecoder(body).Decode(asked); err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			return nil, apierrors.NewRequestEntityTooLargeError("the manifests have more than 64 MiB: split the application")
		}
		return nil, badRequest("the plan's request cannot be read: %v", err)
	}
	if asked.Upload != nil && len(asked.Applications) != 1 {
		return nil, badRequest("an upload is the content of one application: give exactly one")
	}
	for i := range asked.Applications {
		if app := &asked.Applications[i]; app.Namespace != r.PathValue("project") {
			return nil, badRequest("application %s/%s is not of project %s, which is asked", app.Namespace, app.Name, r.PathValue("project"))
		}
	}
	return asked, nil
}

// world is what a plan is made over.
type world struct {
	stage *application.Stage
	depot *depot.Depot
}

func (p *planner) answer(ctx context.Context, project string, asked *fleet.PlanRequest) (*fleet.PlanAnswer, error) {
	stage, err := application.NewStage(p.Intent.Client, staged(asked)...)
	if err != nil {
		return nil, err
	}
	w := world{stage: stage, depot: p.Depot.Draft(stage)}
	apps, err := p.concerned(ctx, project, asked)
	if err != nil {
		return nil, err
	}
	out := &fleet.PlanAnswer{Plans: []plan.Plan{}}
	if asked.Upload != nil {
		refused, err := p.draft(ctx, w, &apps[0], asked.Upload)
		if err != nil || refused != nil {
			return &fleet.PlanAnswer{Plans: refused}, err
		}
	}
	made := make([]planned, len(apps))
	for i := range apps {
		if made[i], err = p.one(ctx, w, &apps[i]); err != nil {
			return nil, fmt.Errorf("plan application %s/%s: %w", project, apps[i].Name, err)
		}
	}
	if err := p.judge(ctx, w, made); err != nil {
		return nil, err
	}
	for _, one := range made {
		out.Plans = append(out.Plans, *one.Plan)
	}
	return out, nil
}

func staged(asked *fleet.PlanRequest) []client.Object {
	var all []client.Object
	for i := range asked.Applications {
		all = append(all, &asked.Applications[i])
	}
	for i := range asked.Projects {
		all = append(all, &asked.Projects[i])
	}
	for i := range asked.Placements {
		all = append(all, &asked.Placements[i])
	}
	for i := range asked.Clusters {
		all = append(all, &asked.Clusters[i])
	}
	return all
}

// concerned are the applications of the project that the change may reach: those
// given come first, in their order.
func (p *planner) concerned(ctx context.Context, project string, asked *fleet.PlanRequest) ([]v1alpha1.Application, error) {
	apps, known := slices.Clone(asked.Applications), map[string]bool{}
	for i := range apps {
		known[apps[i].Name] = true
	}
	for _, name := range asked.Names {
		if known[name] {
			continue
		}
		app := v1alpha1.Application{}
		if err := p.get(ctx, types.NamespacedName{Namespace: project, Name: name}, &app); err != nil {
			return nil, err
		}
		apps, known[name] = append(apps, app), true
	}
	if len(asked.Projects)+len(asked.Clusters)+len(asked.Placements) == 0 {
		return apps, nil
	}
	var all v1alpha1.ApplicationList
	if err := p.Client.List(ctx, &all, client.InNamespace(project)); err != nil {
		return nil, fmt.Errorf("list the applications of project %s: %w", project, err)
	}
	slices.SortFunc(all.Items, func(a, b v1alpha1.Application) int { return cmp.Compare(a.Name, b.Name) })
	for i := range all.Items {
		if app := &all.Items[i]; !known[app.Name] && reached(app, asked) {
			apps = append(apps, *app)
		}
	}
	return apps, nil
}

// reached tells that an object given may change what becomes of an application.
func reached(app *v1alpha1.Application, asked *fleet.PlanRequest) bool {
	if len(asked.Projects)+len(asked.Clusters) > 0 {
		return true
	}
	return app.Spec.Placement != nil && slices.ContainsFunc(asked.Placements, func(pl v1alpha1.Placement) bool { return pl.Name == app.Spec.Placement.Ref })
}

// draft makes the upload the application's content; a plan says what of it the
// project may not deliver.
func (p *planner) draft(ctx context.Context, w world, app *v1alpha1.Application, u *fleet.Upload) ([]plan.Plan, error) {
	project := &v1alpha1.Project{}
	if err := w.stage.Get(ctx, types.NamespacedName{Name: app.Namespace}, project); err != nil {
		return nil, err
	}
	project, err := p.bound(ctx, project)
	if err != nil {
		return nil, err
	}
	files := make([]content.File, len(u.Files))
	for i, f := range u.Files {
		files[i] = content.File{Name: f.Name, Data: f.Data}
	}
	c, violations, err := w.depot.Store(ctx, project, files)
	var refused *depot.Refused
	switch {
	case errors.As(err, &refused):
		return nil, badRequest("%v", refused)
	case err != nil:
		return nil, err
	case len(violations) > 0:
		made := plan.Make(plan.Input{Project: app.Namespace, Application: app.Name, Refused: violations})
		return []plan.Plan{made}, nil
	}
	app.Spec.Source = v1alpha1.Source{Content: &v1alpha1.ContentSource{Digest: string(c.Digest), Origin: u.Origin}}
	return nil, nil
}

// one is the plan for one application.
func (p *planner) one(ctx context.Context, w world, app *v1alpha1.Application) (planned, error) {
	next, err := p.Intent.Rehearse(ctx, app, w.stage, w.depot)
	if err != nil {
		return planned{}, err
	}
	in := plan.Input{
		Project: app.Namespace, Application: app.Name, Next: next.Plan, Leaving: next.Leaving, Refused: next.Refused, Run: next.Run, Waits: next.Waits,
		Clusters: p.sides(app, next), Lifecycle: lifecycle,
		Content: func(d desired.Digest) (content.Bundle, error) { return w.depot.Bundle(ctx, app.Namespace, d) },
	}
	made := plan.Make(in)
	return planned{Plan: &made, sides: in.Clusters}, nil
}

// sides are the clusters that have an entry of the application or would get one.
func (p *planner) sides(app *v1alpha1.Application, next application.Rehearsal) []plan.Cluster {
	key := keyOf(app)
	facts := map[string]*v1alpha1.Facts{}
	for i := range next.Clusters {
		facts[next.Clusters[i].Name] = next.Clusters[i].Status.Facts
	}
	names := p.Book.Holders(key)
	for name := range next.Plan.Entries {
		names = append(names, name)
	}
	slices.Sort(names)
	var sides []plan.Cluster
	for _, name := range slices.Compact(names) {
		c := plan.Cluster{Name: name, Facts: facts[name]}
		if before, _, ok := p.Book.Get(name, key); ok && !p.hasNothing(name, before) {
			c.Before = &before
		}
		if after, ok := next.Plan.Entries[name]; ok {
			c.After = &after
		}
		sides = append(sides, c)
	}
	return sides
}

// hasNothing tells that a cluster which is to keep what it has, has said that
// this is nothing: its turn is yet to come.
func (p *planner) hasNothing(cluster string, before desired.Entry) bool {
	seen := p.Fleet.Get(cluster)
	_, has := seen.Of(before.Key)
	return before.Hold && seen.FromTerm && !has
}
