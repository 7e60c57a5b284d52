package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/fleet"
)

type deployOptions struct {
	files         []string
	image         imageOptions
	to            string
	clusters      []string
	where         string
	placement     string
	count         int32
	namespace     string
	adopt         bool
	lateBinding   bool
	onDelete      string
	drift         string
	variables     []string
	createProject bool
	// dryRun has the hub check everything and change nothing.
	dryRun  bool
	force   bool
	wait    bool
	timeout time.Duration
}

func newDeploy(c *console) *cobra.Command {
	o := deployOptions{}
	cmd := &cobra.Command{
		Use:   "deploy NAME -f PATH --to SELECTOR",
		Short: "Deliver manifests, or an image alone, to the clusters that a rule chooses",
		Long: `Upload manifests and make them an application: what it is (-f) and where it goes
(--to, --cluster, --where, --placement). Values of Secrets are split out and
sealed; they are never part of the stored content.

With --image there are no manifests: a Deployment is made of it, a Service with
--port, and an Ingress with --host (with --gateway an HTTPRoute, which joins that
Gateway). --export prints them and asks no hub.

A second deploy changes what its flags say and keeps the rest, so that
"atoll deploy shop -f deploy/" delivers new manifests to the same clusters, and
"atoll deploy web --image web:2" changes nothing but the image.`,
		Example: `  atoll deploy shop -f deploy/ --project demo --to 'stage=production' --wait
  atoll deploy shop -f deploy/ -p demo --create-project --to 'stage=production' --count 2
  atoll deploy web -f web.yaml -p demo --cluster us-east-1 --cluster us-west-2
  atoll deploy web -f web.yaml -p demo --where 'cluster.facts.nodes > 2'
  kustomize build . | atoll deploy web -f - -p demo
  atoll deploy web --image ghcr.io/team/web:2.1 --port 8080 -p demo --to 'stage=production'
  atoll deploy web --image ghcr.io/team/web:2.1 --port 8080 --export > web.yaml`,
		Args: takes(1, "the application's name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.image.given = cmd.Flags().Changed
			return c.deploy(cmd, o, args[0])
		},
	}
	o.addFlags(c, cmd)
	return cmd
}

func (o *deployOptions) addFlags(c *console, cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringSliceVarP(&o.files, "filename", "f", nil, "manifests: file, folder or - for standard input; repeatable")
	o.image.addFlags(f)
	f.StringVar(&o.to, "to", "", "label selector of clusters, such as 'stage=production,region!=eu-1'")
	f.StringSliceVar(&o.clusters, "cluster", nil, "name of a cluster; repeatable")
	f.StringVar(&o.where, "where", "", "CEL `EXPRESSION` over cluster that must hold")
	f.Int32Var(&o.count, "count", 0, "take only so many of the clusters that match")
	f.StringVar(&o.placement, "placement", "", "use this Placement instead of a rule")
	f.StringVar(&o.namespace, "member-namespace", "", "namespace in the clusters for objects that name none")
	f.BoolVar(&o.adopt, "adopt", false, "take over objects that exist already, without a restart")
	f.BoolVar(&o.lateBinding, "late-binding", false, "replace ${atoll:cluster.…} and ${atoll:var.…} on each cluster")
	f.StringVar(&o.onDelete, "on-delete", "", "what becomes of the objects when the application goes: Orphan (default) or Delete")
	f.StringVar(&o.drift, "drift", "", "changes by others: Correct (default) or Report")
	f.StringArrayVar(&o.variables, "var", nil, "KEY=VALUE for ${atoll:var.KEY}; repeatable")
	f.BoolVar(&o.createProject, "create-project", false, "make the project if there is none")
	f.BoolVar(&o.force, "force-conflicts", false, "take over fields that another manager owns")
	f.BoolVar(&o.wait, "wait", false, "wait until it is in sync and healthy everywhere")
	f.DurationVar(&o.timeout, "timeout", 5*time.Minute, "how long --wait waits")
	_ = cmd.RegisterFlagCompletionFunc("cluster", c.completeNames(clusterKind))
	_ = cmd.RegisterFlagCompletionFunc("placement", c.completeNames(placementKind))
	_ = cmd.RegisterFlagCompletionFunc("on-delete", cobra.FixedCompletions([]string{"Orphan", "Delete"}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("drift", cobra.FixedCompletions([]string{"Correct", "Report"}, cobra.ShellCompDirectiveNoFileComp))
}

// check finds every mistake that needs no hub.
func (o *deployOptions) check() error {
	rule := o.to != "" || len(o.clusters) > 0 || o.where != "" || o.count != 0
	switch {
	case len(o.files) == 0 && o.image.ref == "":
		return wrong("atoll deploy needs -f PATH (a file, a folder or - for standard input) or --image REF")
	case len(o.files) > 0 && o.image.ref != "":
		return wrong("give manifests with -f or an --image, not both")
	case o.image.ref == "" && o.image.any() != "":
		return wrong("--%s says how an image alone runs: give --image REF", o.image.any())
	case o.placement != "" && rule:
		return wrong("--placement names a rule; give it alone, or give the rule itself")
	case o.count < 0:
		return wrong("--count %d: a number of clusters is at least 1", o.count)
	case o.timeout <= 0:
		return wrong("--timeout must be longer than nothing")
	}
	if _, err := labels.Parse(o.to); err != nil {
		return wrong("--to %q is no label selector: %v", o.to, err)
	}
	for _, v := range o.variables {
		if key, _, ok := strings.Cut(v, "="); !ok || key == "" {
			return wrong("--var %q is not KEY=VALUE", v)
		}
	}
	for flag, known := range map[string][]string{"on-delete": {"", "Orphan", "Delete"}, "drift": {"", "Correct", "Report"}} {
		value := map[string]string{"on-delete": o.onDelete, "drift": o.drift}[flag]
		if !slices.Contains(known, value) {
			return oneOf(flag, value, known[1:]...)
		}
	}
	return nil
}

func (c *console) deploy(cmd *cobra.Command, o deployOptions, arg string) error {
	name, err := parseRef(arg, applicationKind)
	if err != nil {
		return err
	}
	if err := o.check(); err != nil {
		return err
	}
	if o.image.export {
		return c.exportImage(name, o.image)
	}
	source, err := c.sourceOf(o, name)
	if err != nil {
		return err
	}
	h, err := c.connect()
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	if err := c.readyProject(ctx, h, o.createProject); err != nil {
		return err
	}
	if err := h.checkTargets(ctx, o); err != nil {
		return err
	}
	app, err := h.release(ctx, name, o, source)
	if err != nil {
		return err
	}
	c.print("%s deployed", applicationKind.ref(name))
	if why := h.stopped(ctx, app); why != "" {
		c.say("No cluster is told of it yet: %s. `atoll explain %s` says how to thaw it.", why, appRef(app.Namespace, name))
	}
	if app.Spec.Placement == nil {
		c.say("It has no placement yet: choose clusters with `atoll deploy %s %s --to SELECTOR`.", name, o.again())
		return nil
	}
	if !o.wait {
		c.say("Follow it with: atoll wait %s", appRef(app.Namespace, name))
		return nil
	}
	return c.await(ctx, h, []target{{applicationKind, app.Namespace, name}}, []string{"synced", "healthy"}, o.timeout)
}

// sourcing makes an application's source; before is what the application is
// now, or nil.
type sourcing func(ctx context.Context, h *hub, before *unstructured.Unstructured) (map[string]any, error)

// sourceOf reads what is given before a hub is asked for anything.
func (c *console) sourceOf(o deployOptions, name string) (sourcing, error) {
	if o.image.ref != "" {
		return o.imageSource(name)
	}
	files, err := readContent(c.In, o.files, name)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, h *hub, _ *unstructured.Unstructured) (map[string]any, error) {
		from := origin(o.files)
		receipt, err := c.upload(ctx, h, files, from)
		if err != nil {
			return nil, err
		}
		return map[string]any{"content": map[string]any{"digest": receipt.Digest, "origin": from}}, nil
	}, nil
}

// again are the flags that named the source.
func (o *deployOptions) again() string {
	if o.image.ref != "" {
		return "--image " + o.image.ref
	}
	return "-f " + strings.Join(o.files, " -f ")
}

// origin tells people later where the content came from.
func origin(paths []string) string {
	var full []string
	for _, path := range paths {
		if abs, err := filepath.Abs(path); err == nil && path != "-" {
			path = abs
		}
		full = append(full, path)
	}
	host, err := os.Hostname()
	if err != nil {
		return strings.Join(full, ", ")
	}
	return host + ":" + strings.Join(full, ", ")
}

// readyProject checks the project, or makes it when asked to.
func (c *console) readyProject(ctx context.Context, h *hub, create bool) error {
	if h.project == "" {
		return wrong("say which project with --project NAME%s", existing(h.names(ctx, projectKind, "")))
	}
	_, err := h.of(projectKind, "").Get(ctx, h.project, metav1.GetOptions{})
	switch {
	case err == nil, apierrors.IsForbidden(err): // a right in a project is none to the project itself
		return nil
	case notServed(err):
		return notAHub(h, err)
	case !apierrors.IsNotFound(err):
		return err
	case !create:
		names := h.names(ctx, projectKind, "")
		return wrong("there is no project %q%s (to make it, add --create-project)", h.project, didYouMean(h.project, names))
	}
	a := applier{hub: h}
	done, err := a.apply(ctx, manifest{kind: projectKind, object: newObject(projectKind, "", h.project, map[string]any{})})
	if err != nil {
		return err
	}
	c.say("%s %s", projectKind.ref(h.project), done)
	return h.awaitNamespace(ctx, h.project)
}

// awaitNamespace waits for the namespace that the hub makes for a project. A
// caller who may not read namespaces goes on: the next call tells.
func (h *hub) awaitNamespace(ctx context.Context, project string) error {
	namespaces := h.objects.Resource(schema.GroupVersionResource{Version: "v1", Resource: "namespaces"})
	err := wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, namespaceWait, true, func(ctx context.Context) (bool, error) {
		_, err := namespaces.Get(ctx, project, metav1.GetOptions{})
		return !apierrors.IsNotFound(err), nil
	})
	if err != nil {
		return fmt.Errorf("wait for the namespace of project %s: %w", project, err)
	}
	return nil
}

func existing(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return " (projects: " + list(names, 10) + ")"
}

// checkTargets catches names of clusters and placements that do not exist, and
// a name given as a selector, which would quietly choose nothing.
func (h *hub) checkTargets(ctx context.Context, o deployOptions) error {
	for _, name := range o.clusters {
		if _, err := h.knownCluster(ctx, name); err != nil {
			return err
		}
	}
	if o.placement != "" {
		if _, err := fetch[v1alpha1.Placement](ctx, h, placementKind, "", o.placement); err != nil {
			return err
		}
	}
	if o.to != "" && !strings.ContainsAny(o.to, "=!,() ") {
		if _, err := h.of(clusterKind, "").Get(ctx, o.to, metav1.GetOptions{}); err == nil {
			return wrong("--to takes labels, and %q is the name of a cluster: did you mean --cluster %s?", o.to, o.to)
		}
	}
	return nil
}

// upload stores the content and prints the receipt.
func (c *console) upload(ctx context.Context, h *hub, files []fleet.File, from string) (*fleet.Receipt, error) {
	receipt, err := h.fleet.Upload(ctx, h.project, fleet.Upload{Files: files, Origin: from})
	if err != nil {
		return nil, err
	}
	if len(receipt.Violations) > 0 {
		c.say("error: project %s may not deliver %s:", h.project, count(len(receipt.Violations), "object"))
		for _, v := range receipt.Violations {
			c.say("  %s: %s: %s", v.Object, v.Reason, v.Message)
		}
		return nil, &codedError{code: exitFailed}
	}
	sealed := ""
	if receipt.Secrets > 0 {
		sealed = ", values of " + count(receipt.Secrets, "Secret") + " sealed"
	}
	c.say("Uploaded %s (%s%s) as %s.", count(receipt.Objects, "object"), size(receipt.Bytes), sealed, short(receipt.Digest))
	return receipt, nil
}

// release points the application at its source.
func (h *hub) release(ctx context.Context, name string, o deployOptions, source sourcing) (*v1alpha1.Application, error) {
	object := newObject(applicationKind, h.project, name, map[string]any{})
	before, err := h.of(applicationKind, h.project).Get(ctx, name, metav1.GetOptions{})
	switch {
	case err == nil && !o.force && follows(before) != "":
		return nil, wrong("app/%s follows %s: make the change there, or take it from there with --force-conflicts", name, follows(before))
	case err == nil:
		if object, err = owned(before, fieldManager); err != nil {
			return nil, err
		}
	case apierrors.IsNotFound(err):
		before = nil
	default:
		return nil, err
	}
	from, err := source(ctx, h, before)
	if err != nil {
		return nil, err
	}
	o.overlay(object.Object["spec"].(map[string]any), from)
	a := applier{hub: h, options: applyOptions{force: o.force, dryRun: o.dryRun}, projects: map[string]bool{h.project: o.createProject}}
	after, err := a.send(ctx, manifest{kind: applicationKind, object: object}, h.project)
	if err != nil {
		return nil, fmt.Errorf("deploy %s: %w", name, err)
	}
	return as[v1alpha1.Application](after)
}

// follows is the repository or registry that an application follows, or "".
func follows(app *unstructured.Unstructured) string {
	for _, at := range [][2]string{{"git", "url"}, {"chart", "repository"}, {"oci", "url"}} {
		if url, _, _ := unstructured.NestedString(app.Object, "spec", "source", at[0], at[1]); url != "" {
			return url
		}
	}
	return ""
}

// overlay writes what the flags say over what the application had.
func (o *deployOptions) overlay(spec, source map[string]any) {
	spec["source"] = source
	set := func(key, value string) {
		if value != "" {
			spec[key] = value
		}
	}
	set("namespace", o.namespace)
	set("onDelete", o.onDelete)
	if o.adopt {
		spec["adopt"] = true
	}
	if o.lateBinding {
		spec["lateBinding"] = true
	}
	if o.drift != "" {
		drift, _ := spec["drift"].(map[string]any)
		if drift == nil {
			drift = map[string]any{}
		}
		drift["mode"] = o.drift
		spec["drift"] = drift
	}
	if len(o.variables) > 0 {
		values, _ := spec["variables"].(map[string]any)
		if values == nil {
			values = map[string]any{}
		}
		for _, v := range o.variables {
			key, value, _ := strings.Cut(v, "=")
			values[key] = value
		}
		spec["variables"] = values
	}
	if rule := o.rule(); rule != nil {
		spec["placement"] = rule
	}
}

// rule replaces the whole placement: parts of an old rule would narrow a new
// one in ways that nobody typed.
func (o *deployOptions) rule() map[string]any {
	rule := map[string]any{}
	if o.placement != "" {
		rule["ref"] = o.placement
	}
	if o.to != "" {
		rule["clusters"] = o.to
	}
	if len(o.clusters) > 0 {
		names := make([]any, 0, len(o.clusters))
		for _, name := range o.clusters {
			names = append(names, name)
		}
		rule["names"] = names
	}
	if o.where != "" {
		rule["where"] = o.where
	}
	if o.count > 0 {
		rule["count"] = int64(o.count)
	}
	if len(rule) == 0 {
		return nil
	}
	return rule
}
