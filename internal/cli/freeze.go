package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/fleet"
	"atoll.dev/atoll/internal/rollout"
)

type freezeOptions struct {
	all    bool
	reason string
	until  time.Duration
}

func newFreeze(c *console) *cobra.Command {
	o := freezeOptions{}
	cmd := &cobra.Command{
		Use:   "freeze [--all | project/NAME | app/NAME] --reason TEXT",
		Short: "Tell clusters nothing new: no change, no step of a rollout, no move",
		Long: `Tell clusters nothing new, until it is thawed: of everything, of a project or of one
application. Changes are taken in and wait; rollouts and rollbacks under way stop where
they are; nothing is placed, withdrawn or deleted.

What runs is kept as it is: agents go on putting right what others change there.`,
		Example: `  atoll freeze --all --reason 'sales weekend' --for 48h
  atoll freeze project/bank --reason 'audit'
  atoll freeze app/shop --reason 'INC-1234: who scales it down?'`,
		ValidArgsFunction: c.completeRefs(applicationKind),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.freeze(cmd.Context(), args, o)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.all, "all", false, "everything that the hub delivers")
	f.StringVar(&o.reason, "reason", "", "why, for those who find it later")
	f.DurationVar(&o.until, "for", 0, "thaw by itself after this time (default: never)")
	return cmd
}

func newThaw(c *console) *cobra.Command {
	all := false
	cmd := &cobra.Command{
		Use:   "thaw [--all | project/NAME | app/NAME]",
		Short: "End a freeze; the changes that waited are delivered",
		Example: `  atoll thaw --all
  atoll thaw app/shop`,
		ValidArgsFunction: c.completeRefs(applicationKind),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.thaw(cmd.Context(), args, all)
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "the freeze of everything")
	return cmd
}

func (c *console) freeze(ctx context.Context, args []string, o freezeOptions) error {
	switch {
	case strings.TrimSpace(o.reason) == "":
		return wrong("say why with --reason TEXT: somebody will find it and wonder")
	case o.until < 0:
		return wrong("--for is a time that passes, such as 4h")
	}
	s, err := c.freezable(ctx, args, o.all)
	if err != nil {
		return err
	}
	now := metav1.NewTime(time.Now().Truncate(time.Second))
	freeze := v1alpha1.Freeze{Reason: o.reason, By: s.hub.me(ctx), Since: &now}
	if o.until > 0 {
		until := metav1.NewTime(now.Add(o.until))
		freeze.Until = &until
	}
	if err := s.write(ctx, &freeze); err != nil {
		return err
	}
	err = wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, noteTime, true, s.noted)
	if err != nil && ctx.Err() == nil {
		c.say("It is written, and the hub has not said yet that it obeys it: %s", sentence(err))
	}
	c.print("%s frozen", s.name)
	c.say("End it with: %s", s.thaw)
	return nil
}

// noteTime is how long the hub has to take note: what is changed after the
// command has ended must find it frozen.
const noteTime = 10 * time.Second

func (c *console) thaw(ctx context.Context, args []string, all bool) error {
	s, err := c.freezable(ctx, args, all)
	if err != nil {
		return err
	}
	if s.now == nil {
		return wrong("%s has no freeze of its own%s", s.name, s.wider)
	}
	if err := s.write(ctx, nil); err != nil {
		return err
	}
	c.print("%s thawed", s.name)
	if s.wider != "" {
		c.say("Clusters are told nothing new yet%s", s.wider)
	}
	return nil
}

// freezable is what a freeze may be of.
type freezable struct {
	hub        *hub
	name, thaw string
	// now is its own freeze, if it has one, and wider says which other is in force.
	now   *v1alpha1.Freeze
	wider string
	// write puts a freeze in the place of the one it has; nil takes it out.
	write func(context.Context, *v1alpha1.Freeze) error
	// noted tells that the hub obeys a freeze.
	noted func(context.Context) (bool, error)
}

func (c *console) freezable(ctx context.Context, args []string, all bool) (*freezable, error) {
	if all == (len(args) > 0) || len(args) > 1 {
		return nil, wrong("say of what: --all, project/NAME or app/NAME, one of them")
	}
	k := applicationKind
	if !all {
		word, _, slash := strings.Cut(args[0], "/")
		if found, err := findKind(word); slash && err != nil {
			return nil, err
		} else if slash {
			k = found
		}
		if k.name != applicationKind.name && k.name != projectKind.name {
			return nil, wrong("%s: only projects, applications and, with --all, everything can be frozen", args[0])
		}
	}
	h, err := c.connect()
	if err != nil {
		return nil, err
	}
	switch {
	case all:
		return h.everything(ctx)
	case k.name == projectKind.name:
		return h.frozenProject(ctx, args[0])
	}
	return h.frozenApplication(ctx, args[0])
}

func (h *hub) frozenProject(ctx context.Context, arg string) (*freezable, error) {
	name, err := parseRef(arg, projectKind)
	if err != nil {
		return nil, err
	}
	p, err := fetch[v1alpha1.Project](ctx, h, projectKind, "", name)
	if err != nil {
		return nil, err
	}
	return &freezable{
		hub: h, name: projectKind.ref(p.Name), now: p.Spec.Freeze, thaw: "atoll thaw project/" + p.Name,
		noted: h.lists("project/" + p.Name),
		write: func(ctx context.Context, f *v1alpha1.Freeze) error {
			return h.merge(ctx, projectKind, "", p.Name, inSpec(f))
		},
	}, nil
}

func (h *hub) frozenApplication(ctx context.Context, arg string) (*freezable, error) {
	app, err := h.application(ctx, arg)
	if err != nil {
		return nil, err
	}
	s := &freezable{
		hub: h, name: applicationKind.ref(app.Name), now: app.Spec.Freeze, thaw: "atoll thaw " + appRef(app.Namespace, app.Name),
		write: func(ctx context.Context, f *v1alpha1.Freeze) error {
			return h.merge(ctx, applicationKind, app.Namespace, app.Name, inSpec(f))
		},
		noted: func(ctx context.Context) (bool, error) {
			now, err := fetch[v1alpha1.Application](ctx, h, applicationKind, app.Namespace, app.Name)
			return err == nil && frozen(now) != "", err
		},
	}
	own := rollout.FrozenApplication(app, time.Now())
	if why := frozen(app); why != "" && (own == nil || own.Why() != why) {
		s.wider = ": " + why
	}
	return s, nil
}

// lists tells whether the hub's overview lists the freeze.
func (h *hub) lists(subject string) func(context.Context) (bool, error) {
	return func(ctx context.Context) (bool, error) {
		o, err := h.fleet.Overview(ctx)
		if err != nil {
			return false, err
		}
		return slices.ContainsFunc(o.Frozen, func(a fleet.Attention) bool { return a.Subject == subject }), nil
	}
}

// inSpec replaces the freeze as a whole: what is merged would keep an end that
// the former one had.
func inSpec(f *v1alpha1.Freeze) map[string]any {
	if f == nil {
		return map[string]any{"spec": map[string]any{"freeze": nil}}
	}
	freeze := map[string]any{"reason": f.Reason, "by": f.By, "since": f.Since, "until": nil}
	if f.Until != nil {
		freeze["until"] = f.Until
	}
	return map[string]any{"spec": map[string]any{"freeze": freeze}}
}

// everything is frozen by a ConfigMap in the hub's namespace, which admins may
// write.
func (h *hub) everything(ctx context.Context) (*freezable, error) {
	o, err := h.fleet.Overview(ctx)
	if err != nil {
		return nil, notAHub(h, err)
	}
	maps := h.objects.Resource(schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}).Namespace(o.Hub.Namespace)
	s := &freezable{hub: h, name: "everything", thaw: "atoll thaw --all", noted: h.lists("everything")}
	s.write = func(ctx context.Context, f *v1alpha1.Freeze) error { return writeFreeze(ctx, maps, o.Hub.Namespace, f) }
	stored, err := maps.Get(ctx, v1alpha1.FreezeName, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return s, nil
	case err != nil:
		return nil, fmt.Errorf("read whether everything is frozen: %w", err)
	}
	data, _, err := unstructured.NestedStringMap(stored.Object, "data")
	if err != nil {
		return nil, fmt.Errorf("read whether everything is frozen: %w", err)
	}
	s.now = rollout.ParseFreeze(data)
	return s, nil
}

func writeFreeze(ctx context.Context, maps dynamic.ResourceInterface, namespace string, f *v1alpha1.Freeze) error {
	if f == nil {
		if err := maps.Delete(ctx, v1alpha1.FreezeName, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("thaw everything: %w", err)
		}
		return nil
	}
	data, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": v1alpha1.FreezeName, "namespace": namespace},
		"data": rollout.FreezeData(*f),
	})
	if err != nil {
		return fmt.Errorf("encode the freeze: %w", err)
	}
	force := true
	_, err = maps.Patch(ctx, v1alpha1.FreezeName, types.ApplyPatchType, data, metav1.PatchOptions{FieldManager: fieldManager, Force: &force})
	if err != nil {
		return fmt.Errorf("freeze everything: %w", err)
	}
	return nil
}

// frozen is why clusters are told nothing new of an application, or "".
func frozen(app *v1alpha1.Application) string {
	c := meta.FindStatusCondition(app.Status.Conditions, v1alpha1.ConditionFrozen)
	if c == nil {
		return ""
	}
	return c.Message
}

// stopped is the freeze in force over an application that was just written, of which
// its status may not tell yet; who may not read what tells of one sees the rest.
func (h *hub) stopped(ctx context.Context, app *v1alpha1.Application) string {
	if why := frozen(app); why != "" {
		return why
	}
	project, _ := fetch[v1alpha1.Project](ctx, h, projectKind, "", app.Namespace)
	if f := rollout.FrozenBy(nil, project, app, time.Now()); f != nil {
		return f.Why()
	}
	o, err := h.fleet.Overview(ctx)
	if err != nil {
		return ""
	}
	for _, a := range o.Frozen {
		if a.Subject == "everything" {
			return a.Message
		}
	}
	return ""
}

// thawed refuses what would only be obeyed after a thaw, when nobody thinks of
// it any more.
func thawed(app *v1alpha1.Application) error {
	if why := frozen(app); why != "" {
		return wrong("%s; nothing was changed. `atoll explain %s` says how to thaw it; then say this again", why, appRef(app.Namespace, app.Name))
	}
	return nil
}
