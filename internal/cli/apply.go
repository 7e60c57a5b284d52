package cli

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"

	"atoll.dev/atoll/internal/refusal"
)

type applyOptions struct {
	files  []string
	dryRun bool
	force  bool
}

func newApply(c *console) *cobra.Command {
	o := applyOptions{}
	cmd := &cobra.Command{
		Use:   "apply -f FILE|DIR|-",
		Short: "Apply projects, placements, clusters and applications",
		Long: `Apply objects of atoll.dev by server-side apply, as field manager "atoll".

Projects come first, then placements, clusters and applications, whatever their
order in the files. Every object is tried; each that is refused is printed with
all of its fields, and the exit code is then 2.`,
		Example: `  atoll apply -f project.yaml -f application.yaml
  atoll apply -f fleet/ --dry-run
  cat app.yaml | atoll apply -f -`,
		Args: takesNothing,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.apply(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	f.StringSliceVarP(&o.files, "filename", "f", nil, "file, folder or - for standard input; repeatable")
	f.BoolVar(&o.dryRun, "dry-run", false, "let the hub check everything and change nothing")
	f.BoolVar(&o.force, "force-conflicts", false, "take over fields that another manager owns")
	return cmd
}

func (c *console) apply(ctx context.Context, o applyOptions) error {
	if len(o.files) == 0 {
		return wrong("atoll apply needs -f FILE, a folder or - for standard input")
	}
	files, err := readFiles(c.In, o.files)
	if err != nil {
		return err
	}
	manifests, parseErr := parseManifests(files)
	if len(manifests) == 0 {
		if parseErr != nil {
			return c.refuse(parseErr)
		}
		return wrong("the files hold no objects")
	}
	h, err := c.connect()
	if err != nil {
		return err
	}
	failures := []error{parseErr}
	a := applier{hub: h, options: o}
	for _, m := range manifests {
		done, err := a.apply(ctx, m)
		if unreachable(err) != "" {
			return err
		}
		if err != nil {
			failures = append(failures, err)
			continue
		}
		c.print("%s %s", m.kind.ref(m.object.GetName()), done)
	}
	return c.refuse(errors.Join(failures...))
}

// refuse prints each of the joined errors and ends with exit code 2.
func (c *console) refuse(err error) error {
	if err == nil {
		return nil
	}
	for _, e := range flatten(err) {
		c.say("error: %s", sentence(e))
	}
	return &codedError{code: exitFailed}
}

func flatten(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var all []error
	for _, e := range joined.Unwrap() {
		all = append(all, flatten(e)...)
	}
	return all
}

// applier remembers the projects it made, whose namespaces take a moment.
type applier struct {
	hub      *hub
	options  applyOptions
	projects map[string]bool
}

// apply says what became of the object: created, configured or unchanged.
func (a *applier) apply(ctx context.Context, m manifest) (string, error) {
	project := ""
	if m.kind.namespaced {
		if project = m.object.GetNamespace(); project == "" {
			project = a.hub.project
		}
		if project == "" {
			return "", wrong("%s: %s names no project: set metadata.namespace or give --project", m.origin, m.kind.ref(m.object.GetName()))
		}
		m.object.SetNamespace(project)
	}
	before, err := a.hub.of(m.kind, project).Get(ctx, m.object.GetName(), metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return "", fmt.Errorf("read %s: %w", m.kind.ref(m.object.GetName()), err)
	}
	if err != nil && notServed(err) {
		return "", notAHub(a.hub, err)
	}
	created := err != nil
	after, err := a.send(ctx, m, project)
	if err != nil {
		return "", err
	}
	if m.kind.name == projectKind.name && !a.options.dryRun {
		if a.projects == nil {
			a.projects = map[string]bool{}
		}
		a.projects[m.object.GetName()] = true
	}
	suffix := ""
	if a.options.dryRun {
		suffix = " (dry run)"
	}
	switch {
	case created:
		return "created" + suffix, nil
	case reflect.DeepEqual(asked(before), asked(after)):
		return "unchanged" + suffix, nil
	default:
		return "configured" + suffix, nil
	}
}

// asked is an object without what controllers write, maybe in the same moment:
// that is not this command's doing.
func asked(o *unstructured.Unstructured) map[string]any {
	o = o.DeepCopy()
	for _, field := range []string{"resourceVersion", "managedFields", "finalizers"} {
		unstructured.RemoveNestedField(o.Object, "metadata", field)
	}
	delete(o.Object, "status")
	return o.Object
}

// namespaceWait is how long a new project may take to get its namespace.
const namespaceWait = 30 * time.Second

func (a *applier) send(ctx context.Context, m manifest, project string) (*unstructured.Unstructured, error) {
	opts := metav1.ApplyOptions{FieldManager: fieldManager, Force: a.options.force}
	if a.options.dryRun {
		opts.DryRun = []string{metav1.DryRunAll}
	}
	var out *unstructured.Unstructured
	var failure error
	waited := wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, namespaceWait, true, func(context.Context) (bool, error) {
		out, failure = a.hub.of(m.kind, project).Apply(ctx, m.object.GetName(), m.object, opts)
		return !apierrors.IsNotFound(failure) || !a.projects[project], nil
	})
	if waited != nil && ctx.Err() == nil {
		return nil, wrong("%s: project %s was made but has no namespace after %s", m.kind.ref(m.object.GetName()), project, namespaceWait)
	}
	return out, a.readable(m, project, failure)
}

// readable names the object and what to do; refusals field by field stay as
// they are, for sentence unfolds them.
func (a *applier) readable(m manifest, project string, err error) error {
	ref := m.kind.ref(m.object.GetName())
	if err == nil {
		return nil
	}
	fields := refusal.Fields(err.Error())
	switch {
	case apierrors.IsInvalid(err), unreachable(err) != "":
		return err
	case len(fields) > 0:
		var lines []string
		for _, f := range fields {
			lines = append(lines, f.String())
		}
		return wrong("%s", refused(ref, lines))
	case apierrors.IsNotFound(err) && m.kind.namespaced:
		return wrong("%s: there is no project %q; apply the Project first", ref, project)
	case apierrors.IsConflict(err):
		return wrong("%s: another manager owns fields of it: %v (take them over with --force-conflicts)", ref, err)
	default:
		return fmt.Errorf("apply %s: %w", ref, err)
	}
}
