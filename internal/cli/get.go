package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/yaml"
)

type getOptions struct {
	output   string
	watch    bool
	selector string
	all      bool
}

func newGet(c *console) *cobra.Command {
	o := getOptions{}
	cmd := &cobra.Command{
		Use:   "get KIND [NAME...]",
		Short: "List clusters, projects, apps, revisions, rollouts, placements or grants",
		Long: `List objects of the hub, with the columns that kubectl would print.

KIND is clusters, projects, apps, revisions, rollouts, placements or grants, or KIND/NAME.
Apps, revisions, rollouts and grants of every project are listed unless a project is chosen.`,
		Example: `  atoll get clusters
  atoll get clusters -l stage=production -o wide
  atoll get apps -p demo -w
  atoll get app/shop -o yaml
  atoll get clusters -o name`,
		Args:              someArgs("a kind: " + strings.Join(nouns, ", ")),
		ValidArgsFunction: c.completeKinds,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.get(cmd.Context(), o, args)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.output, "output", "o", "table", "table, wide, json, yaml or name")
	f.BoolVarP(&o.watch, "watch", "w", false, "keep printing changes")
	f.StringVarP(&o.selector, "selector", "l", "", "only objects whose labels match")
	f.BoolVarP(&o.all, "all-projects", "A", false, "every project, whatever the kubeconfig says")
	f.BoolVar(&o.all, "all-namespaces", false, "same as --all-projects")
	_ = f.MarkHidden("all-namespaces")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "wide", "json", "yaml", "name"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func someArgs(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return wrong("%s needs %s (usage: %s)", cmd.CommandPath(), what, cmd.UseLine())
		}
		return nil
	}
}

func (c *console) get(ctx context.Context, o getOptions, args []string) error {
	if err := oneOf("output", o.output, "table", "wide", "json", "yaml", "name"); err != nil {
		return err
	}
	if _, err := labels.Parse(o.selector); err != nil {
		return wrong("--selector %q: %v", o.selector, err)
	}
	k, names, err := parseTargets(args)
	if err != nil {
		return err
	}
	if o.watch && len(names) > 1 {
		return wrong("--watch follows all objects of a kind or a single one, not %d", len(names))
	}
	if len(names) > 0 && o.selector != "" {
		return wrong("give names or --selector, not both")
	}
	h, err := c.connect()
	if err != nil {
		return err
	}
	q := question{kind: k, project: h.project, selector: o.selector}
	if o.all {
		q.project = ""
	}
	if len(names) == 0 {
		return c.answer(ctx, h, o, q)
	}
	return c.getNamed(ctx, h, o, q, names)
}

func (c *console) getNamed(ctx context.Context, h *hub, o getOptions, q question, names []string) error {
	questions := make([]question, 0, len(names))
	for _, name := range names {
		one := q
		one.name = name
		if q.kind.namespaced && q.project == "" {
			project, err := h.projectOf(ctx, q.kind, name)
			if err != nil {
				return err
			}
			one.project = project
		}
		questions = append(questions, one)
	}
	return c.answer(ctx, h, o, questions...)
}

// projectOf finds the only project that has an object of this name.
func (h *hub) projectOf(ctx context.Context, k kind, name string) (string, error) {
	answer, err := h.of(k, "").List(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + name})
	if err != nil {
		return "", notAHub(h, err)
	}
	switch len(answer.Items) {
	case 0:
		return "", wrong("there is no %s %q in any project%s", k.singular(), name, didYouMean(name, h.names(ctx, k, "")))
	case 1:
		return answer.Items[0].GetNamespace(), nil
	default:
		var projects []string
		for _, item := range answer.Items {
			projects = append(projects, item.GetNamespace())
		}
		return "", wrong("%s %q exists in the projects %s; say which with --project", k.singular(), name, list(projects, 10))
	}
}

// parseTargets reads "clusters", "clusters a b", "cluster/a cluster/b".
func parseTargets(args []string) (kind, []string, error) {
	word, first, slash := strings.Cut(args[0], "/")
	k, err := findKind(word)
	if err != nil {
		return kind{}, nil, err
	}
	names := args[1:]
	if slash {
		names = append([]string{first}, names...)
	}
	for i, name := range names {
		if names[i], err = parseRef(name, k); err != nil {
			return kind{}, nil, err
		}
	}
	return k, names, nil
}

func (c *console) answer(ctx context.Context, h *hub, o getOptions, questions ...question) error {
	if o.output == "json" || o.output == "yaml" {
		return c.getWhole(ctx, h, o, questions)
	}
	printer := &tablePrinter{console: c, options: o, multi: len(questions) > 0 && questions[0].kind.namespaced && questions[0].project == ""}
	for _, q := range questions {
		t, err := h.table(ctx, q)
		if err != nil {
			return err
		}
		if err := printer.collect(q.kind, t); err != nil {
			return err
		}
		if o.watch {
			if err := printer.flush(); err != nil {
				return err
			}
			return printer.follow(ctx, h, q, t.ResourceVersion)
		}
	}
	if len(printer.grid.rows) == 0 && o.output != "name" {
		c.say("No %s%s.", questions[0].kind.resource, within(questions[0]))
		return nil
	}
	return printer.flush()
}

func within(q question) string {
	switch {
	case q.selector != "":
		return " match " + q.selector
	case q.kind.namespaced && q.project != "":
		return " in project " + q.project
	default:
		return ""
	}
}

// tablePrinter prints rows of the server's tables as one grid, and later rows
// under the same columns.
type tablePrinter struct {
	*console
	options getOptions
	multi   bool
	columns columns
	grid    grid
	headed  bool
}

func (p *tablePrinter) collect(k kind, t *metav1.Table) error {
	if len(t.ColumnDefinitions) > 0 {
		p.columns = columns{defs: t.ColumnDefinitions, wide: p.options.output == "wide", projects: p.multi}
	}
	for _, row := range t.Rows {
		if p.options.output == "name" {
			p.grid.add(text(k.ref(rowMeta(row).GetName())))
			continue
		}
		p.grid.add(p.columns.row(row)...)
	}
	return nil
}

func (p *tablePrinter) flush() error {
	if !p.headed && p.options.output != "name" {
		p.grid.head, p.headed = p.columns.head(), true
	}
	err := p.grid.write(p.Out, p.ink)
	p.grid = grid{}
	return err
}

// follow prints changes until interrupted. What the server ends is taken up
// where it stopped, and a lost connection as soon as there is one again.
func (p *tablePrinter) follow(ctx context.Context, h *hub, q question, version string) error {
	const first, most = 200 * time.Millisecond, 5 * time.Second
	pause := first
	for ctx.Err() == nil {
		next, err := p.followOnce(ctx, h, q, version)
		version = next
		switch {
		case err == nil:
			pause = first
			continue
		case ctx.Err() != nil:
			return nil
		case !retriable(err):
			return err
		case pause == first:
			p.say("%s; trying again", sentence(err))
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
			pause = min(2*pause, most)
		}
	}
	return nil
}

// followOnce returns the version to go on from.
func (p *tablePrinter) followOnce(ctx context.Context, h *hub, q question, version string) (string, error) {
	if version == "" {
		t, err := h.table(ctx, q)
		if err != nil {
			return "", err
		}
		version = t.ResourceVersion
	}
	version, err := h.watch(ctx, q, version, func(event string, t *metav1.Table) error {
		if event == string(watch.Deleted) {
			for _, row := range t.Rows {
				p.print("%s deleted", q.kind.ref(rowMeta(row).GetName()))
			}
			return nil
		}
		if err := p.collect(q.kind, t); err != nil {
			return err
		}
		return p.flush()
	})
	if apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
		version = ""
	}
	return version, err
}

func (c *console) getWhole(ctx context.Context, h *hub, o getOptions, questions []question) error {
	if o.watch {
		return wrong("--watch prints a table; leave out -o %s", o.output)
	}
	if len(questions) == 1 && questions[0].name != "" {
		q := questions[0]
		u, err := h.of(q.kind, q.project).Get(ctx, q.name, metav1.GetOptions{})
		if err != nil {
			return h.missing(ctx, q.kind, q.project, q.name, err)
		}
		strip(u)
		return encode(c.Out, o.output, u.Object)
	}
	items := []any{}
	for _, q := range questions {
		found, err := h.whole(ctx, q)
		if err != nil {
			return err
		}
		for i := range found {
			strip(&found[i])
			items = append(items, found[i].Object)
		}
	}
	return encode(c.Out, o.output, map[string]any{"apiVersion": "v1", "kind": "List", "items": items})
}

func (h *hub) whole(ctx context.Context, q question) ([]unstructured.Unstructured, error) {
	if q.name != "" {
		u, err := h.of(q.kind, q.project).Get(ctx, q.name, metav1.GetOptions{})
		if err != nil {
			return nil, h.missing(ctx, q.kind, q.project, q.name, err)
		}
		return []unstructured.Unstructured{*u}, nil
	}
	answer, err := h.of(q.kind, q.project).List(ctx, metav1.ListOptions{LabelSelector: q.selector})
	if err != nil {
		return nil, notAHub(h, err)
	}
	return answer.Items, nil
}

// strip removes what only machines read, as kubectl does.
func strip(u *unstructured.Unstructured) { u.SetManagedFields(nil) }

// encode prints data for machines.
func encode(w io.Writer, format string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	if format == "yaml" {
		if data, err = yaml.JSONToYAML(data); err != nil {
			return fmt.Errorf("encode the answer: %w", err)
		}
	} else {
		data = append(data, '\n')
	}
	_, err = w.Write(data)
	return err
}
