package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/fleet"
	"atoll.dev/atoll/internal/plan"
)

type planOptions struct {
	deploy   deployOptions
	revision string
	output   string
	// live has the members asked, too.
	live bool
}

// deployFlags are those of deploy that say what is delivered and where.
var deployFlags = []string{
	"filename", "to", "cluster", "where", "count", "placement", "member-namespace", "adopt", "late-binding", "on-delete", "drift", "var", "force-conflicts",
	"image", "port", "replicas", "host", "gateway", "ingress-class", "probe", "env", "cpu", "memory", "as-root",
}

func newPlan(c *console) *cobra.Command {
	o := planOptions{}
	cmd := &cobra.Command{
		Use:   "plan -f PATH | app/NAME | NAME -f PATH|--image REF --to SELECTOR",
		Short: "What a change would do to each cluster, before it is made",
		Long: `Let the hub work out what it would ask of every cluster, and compare that with what
it asks now: object by object and field by field, clusters with the same change
together, deletions first. Nothing is written, neither to the hub nor to a cluster.

  atoll plan -f PATH               as "atoll apply -f PATH" would change it
  atoll plan NAME -f PATH --to …   as "atoll deploy NAME -f PATH --to …" would;
                                   or with --image REF, as that of an image
  atoll plan app/NAME              what is still to come of the application as it is;
                                   with --revision, as "atoll rollback --to" would

Values of Secrets are never shown. What only a cluster knows is in a plan with
--live, which asks those that would change: what drifted there, and as you, what is
there already and would conflict or be adopted. It names who did not answer, and
what you may not read there.

Exit codes: 0 nothing would change, 1 changes, refusals or findings of --live, 2 a
failure, 3 nothing that is known, but a part of the plan is not known.`,
		Example: `  atoll plan -f fleet/
  atoll plan shop -f deploy/ -p demo --to 'stage=production'
  atoll plan web --image ghcr.io/team/web:2.2 -p demo
  atoll plan app/shop --revision shop-4be0a7c2d1f3
  atoll plan -f fleet/ --live
  atoll plan -f fleet/ -o sarif > plan.sarif`,
		Args: atMostOne("application"),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.deploy.image.given = cmd.Flags().Changed
			return c.plan(cmd.Context(), args, o)
		},
	}
	scratch := &cobra.Command{}
	o.deploy.addFlags(c, scratch)
	for _, name := range deployFlags {
		cmd.Flags().AddFlag(scratch.Flags().Lookup(name))
	}
	cmd.Flags().StringVar(&o.revision, "revision", "", "as if the application were pinned to this revision")
	cmd.Flags().BoolVar(&o.live, "live", false, "ask the clusters too: what drifted, and what is there already")
	cmd.Flags().StringVarP(&o.output, "output", "o", "text", "text, json, yaml or sarif")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"text", "json", "yaml", "sarif"}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("cluster", c.completeNames(clusterKind))
	_ = cmd.RegisterFlagCompletionFunc("placement", c.completeNames(placementKind))
	return cmd
}

func (c *console) plan(ctx context.Context, args []string, o planOptions) error {
	if err := oneOf("output", o.output, "text", "json", "yaml", "sarif"); err != nil {
		return err
	}
	var answer *fleet.PlanAnswer
	var err error
	content := len(o.deploy.files) > 0 || o.deploy.image.ref != ""
	switch {
	case o.misplaced(args) != "":
		return wrong("--%s is of a deploy that is planned: atoll plan NAME with -f PATH or --image REF", o.misplaced(args))
	case len(args) == 0 && !content:
		return wrong("atoll plan needs -f PATH or an application: app/NAME")
	case o.revision != "" && (content || len(args) == 0):
		return wrong("--revision is of an application as it is: atoll plan app/NAME --revision %s", o.revision)
	case len(args) == 0:
		answer, err = c.planObjects(ctx, o)
	case content:
		answer, err = c.planDeploy(ctx, args[0], o)
	default:
		answer, err = c.planAsIs(ctx, args[0], o)
	}
	if err != nil {
		return err
	}
	if o.live {
		if err := c.planLive(ctx, answer); err != nil {
			return err
		}
	}
	if err := c.tellPlan(answer, o); err != nil {
		return err
	}
	return verdict(answer)
}

// misplaced is a flag of deploy where none is planned, or "".
func (o *planOptions) misplaced(args []string) string {
	if len(args) > 0 && (len(o.deploy.files) > 0 || o.deploy.image.ref != "") {
		return ""
	}
	for _, flag := range deployFlags {
		ofApply := len(args) == 0 && (flag == "filename" || flag == "force-conflicts")
		if !ofApply && o.deploy.image.given(flag) {
			return flag
		}
	}
	return ""
}

func (c *console) tellPlan(answer *fleet.PlanAnswer, o planOptions) error {
	switch o.output {
	case "text":
		return writePlans(c.Out, answer, c.view())
	case "sarif":
		return writeSARIF(c.Out, answer, fileOf(o.deploy.files))
	}
	return encode(c.Out, o.output, answer)
}

// verdict is the exit code.
func verdict(answer *fleet.PlanAnswer) error {
	partial := len(answer.Unknown) > 0
	for i := range answer.Plans {
		if !answer.Plans[i].Empty() || len(answer.Plans[i].Live) > 0 {
			return no()
		}
		partial = partial || len(answer.Plans[i].Unknown) > 0
	}
	if partial {
		return &codedError{code: exitPartial}
	}
	return nil
}

// planAsIs is about an application that is there.
func (c *console) planAsIs(ctx context.Context, arg string, o planOptions) (*fleet.PlanAnswer, error) {
	h, app, err := c.open(ctx, arg, aboutApp{output: "text"})
	if err != nil {
		return nil, err
	}
	if o.revision == "" {
		return h.fleet.Plan(ctx, app.Namespace, fleet.PlanRequest{Names: []string{app.Name}})
	}
	revisions, err := h.revisions(ctx, app)
	if err != nil {
		return nil, err
	}
	to, err := choose(app, revisions, nil, o.revision)
	if err != nil {
		return nil, err
	}
	app.Spec.Pins = append([]v1alpha1.Pin{{Revision: to, Reason: "planned"}}, unpinned(app.Spec.Pins, nil)...)
	app.Generation++
	return h.fleet.Plan(ctx, app.Namespace, fleet.PlanRequest{Applications: []v1alpha1.Application{*app}})
}

// planDeploy is about what deploy would make.
func (c *console) planDeploy(ctx context.Context, arg string, o planOptions) (*fleet.PlanAnswer, error) {
	name, err := parseRef(arg, applicationKind)
	if err != nil {
		return nil, err
	}
	o.deploy.timeout = 1 // nothing is waited for
	if err := o.deploy.check(); err != nil {
		return nil, err
	}
	source, upload, err := c.plannedSource(o.deploy, name)
	if err != nil {
		return nil, err
	}
	h, err := c.connect()
	if err != nil {
		return nil, err
	}
	if h.project == "" {
		return nil, wrong("say which project with --project NAME%s", existing(h.names(ctx, projectKind, "")))
	}
	if _, err := fetch[v1alpha1.Project](ctx, h, projectKind, "", h.project); err != nil {
		return nil, err
	}
	if err := h.checkTargets(ctx, o.deploy); err != nil {
		return nil, err
	}
	o.deploy.dryRun = true
	app, err := h.release(ctx, name, o.deploy, source)
	if err != nil {
		return nil, err
	}
	return h.fleet.Plan(ctx, h.project, fleet.PlanRequest{Applications: []v1alpha1.Application{*app}, Upload: upload})
}

// plannedSource is what deploy would make the source, without storing anything:
// manifests go to the hub beside the plan's question.
func (c *console) plannedSource(o deployOptions, name string) (sourcing, *fleet.Upload, error) {
	if o.image.ref != "" {
		source, err := o.imageSource(name)
		return source, nil, err
	}
	files, err := readContent(c.In, o.files, name)
	if err != nil {
		return nil, nil, err
	}
	upload := &fleet.Upload{Files: files, Origin: origin(o.files)}
	return func(context.Context, *hub, *unstructured.Unstructured) (map[string]any, error) {
		return map[string]any{"content": map[string]any{"digest": standIn(files), "origin": upload.Origin}}, nil
	}, upload, nil
}

// standIn names content that is not stored: the hub puts the true digest there
// when it has parsed the files.
func standIn(files []fleet.File) string {
	var all []byte
	for _, f := range files {
		all = append(all, f.Data...)
	}
	return string(desired.Sum(all))
}

// planObjects is about what apply would make.
func (c *console) planObjects(ctx context.Context, o planOptions) (*fleet.PlanAnswer, error) {
	files, err := readFiles(c.In, o.deploy.files)
	if err != nil {
		return nil, err
	}
	manifests, err := parseManifests(files)
	if err != nil {
		return nil, c.refuse(err)
	}
	if len(manifests) == 0 {
		return nil, wrong("the files hold no objects")
	}
	h, err := c.connect()
	if err != nil {
		return nil, err
	}
	p := planning{hub: h, applier: applier{hub: h, options: applyOptions{dryRun: true, force: o.deploy.force}}, perProject: map[string][]v1alpha1.Application{}}
	for _, m := range manifests {
		if err := p.add(ctx, m); err != nil {
			return nil, err
		}
	}
	return p.ask(ctx, c.project)
}

// planning gathers what the objects would be, as the hub answers a dry run.
type planning struct {
	hub     *hub
	applier applier
	shared  fleet.PlanRequest
	// perProject are the applications; made the projects that are not there yet.
	perProject map[string][]v1alpha1.Application
	made       []string
}

func (p *planning) add(ctx context.Context, m manifest) error {
	project, err := p.projectOf(m)
	if err != nil {
		return err
	}
	object := m.object
	if !slices.Contains(p.made, project) || project == "" {
		if m.kind.name == projectKind.name {
			if _, err := p.hub.of(projectKind, "").Get(ctx, m.object.GetName(), metav1.GetOptions{}); apierrors.IsNotFound(err) {
				p.made = append(p.made, m.object.GetName())
			}
		}
		if object, err = p.applier.send(ctx, m, project); err != nil {
			return err
		}
	}
	return p.keep(m, project, object)
}

// projectOf is where a namespaced object goes.
func (p *planning) projectOf(m manifest) (string, error) {
	if !m.kind.namespaced {
		return "", nil
	}
	project := m.object.GetNamespace()
	if project == "" {
		project = p.hub.project
	}
	if project == "" {
		return "", wrong("%s: %s names no project: set metadata.namespace or give --project", m.origin, m.kind.ref(m.object.GetName()))
	}
	m.object.SetNamespace(project)
	return project, nil
}

func (p *planning) keep(m manifest, project string, object *unstructured.Unstructured) error {
	switch m.kind.name {
	case applicationKind.name:
		app, err := as[v1alpha1.Application](object)
		if err != nil {
			return err
		}
		p.perProject[project] = append(p.perProject[project], *app)
	case projectKind.name:
		return appended(&p.shared.Projects, object)
	case placementKind.name:
		return appended(&p.shared.Placements, object)
	case clusterKind.name:
		return appended(&p.shared.Clusters, object)
	default:
		return wrong("%s: a %s is a record of the hub, and nothing to plan", m.origin, m.kind.singular())
	}
	return nil
}

func appended[T any](list *[]T, object *unstructured.Unstructured) error {
	item, err := as[T](object)
	if err == nil {
		*list = append(*list, *item)
	}
	return err
}

// ask asks each project that has applications given, and every other that the
// objects of the whole hub may change.
func (p *planning) ask(ctx context.Context, only string) (*fleet.PlanAnswer, error) {
	projects := map[string]bool{}
	for project := range p.perProject {
		projects[project] = true
	}
	if len(p.shared.Projects)+len(p.shared.Placements)+len(p.shared.Clusters) > 0 {
		others := p.hub.names(ctx, projectKind, "")
		if only != "" || len(others) == 0 {
			others = nil
			if p.hub.project != "" {
				others = []string{p.hub.project}
			}
		}
		for _, project := range others {
			projects[project] = true
		}
	}
	out := &fleet.PlanAnswer{Plans: []plan.Plan{}}
	for _, project := range slices.Sorted(maps.Keys(projects)) {
		request := p.shared
		request.Applications = p.perProject[project]
		answer, err := p.hub.fleet.Plan(ctx, project, request)
		switch {
		case apierrors.IsForbidden(err) && len(request.Applications) == 0:
			out.Unknown = append(out.Unknown, plan.Unknown{Message: fmt.Sprintf("project %s is not yours to plan for", project)})
		case err != nil:
			return nil, err
		default:
			out.Plans, out.Unknown = append(out.Plans, answer.Plans...), append(out.Unknown, answer.Unknown...)
		}
	}
	return out, nil
}

// fileOf is a file to which findings can be pinned.
func fileOf(paths []string) string {
	if len(paths) == 0 || paths[0] == "-" {
		return ""
	}
	return paths[0]
}
