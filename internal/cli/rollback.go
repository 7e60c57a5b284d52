package cli

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/desired"
)

type pinOptions struct {
	to, reason string
	clusters   []string
	expires    time.Duration
}

func newRollback(c *console) *cobra.Command {
	o := pinOptions{}
	cmd := &cobra.Command{
		Use:   "rollback app/NAME",
		Short: "Pin an application to a former revision, everywhere or on some clusters",
		Long: `Pin an application to a revision that it had, whatever its source says: by default
the one before, on all its clusters. On all clusters it travels as any change does
(spec.rollout); on clusters named with --cluster it is there at once.

Nothing else is touched: the source goes on being followed, and "atoll unpin" lets its
newest revision be delivered again.`,
		Example: `  atoll rollback app/shop --reason 'orders fail'
  atoll rollback app/shop --to shop-4be0a7c2d1f3
  atoll rollback app/shop -C eu-1 --expires 12h`,
		Args:              takes(1, "an application: app/NAME"),
		ValidArgsFunction: c.completeRefs(applicationKind),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.rollback(cmd.Context(), args[0], o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.to, "to", "", "a `REVISION` of those that atoll history lists (default: the one before)")
	f.StringVar(&o.reason, "reason", "rolled back by hand", "why, for those who find the pin later")
	f.StringSliceVarP(&o.clusters, "cluster", "C", nil, "only these clusters")
	f.DurationVar(&o.expires, "expires", 0, "take the pin out by itself after this time")
	_ = cmd.RegisterFlagCompletionFunc("cluster", c.completeNames(clusterKind))
	return cmd
}

func (c *console) rollback(ctx context.Context, arg string, o pinOptions) error {
	if o.expires < 0 {
		return wrong("--expires is a time that passes, such as 12h")
	}
	h, app, err := c.open(ctx, arg, aboutApp{output: "text"})
	if err != nil {
		return err
	}
	if err := thawed(app); err != nil {
		return err
	}
	for _, name := range o.clusters {
		if !slices.Contains(app.Status.Clusters, name) {
			return wrong("application %s is not on cluster %q%s", app.Name, name, didYouMean(name, app.Status.Clusters))
		}
	}
	revisions, err := h.revisions(ctx, app)
	if err != nil {
		return err
	}
	runs, err := h.rollouts(ctx, app)
	if err != nil {
		return err
	}
	to, err := choose(app, revisions, runs, o.to)
	if err != nil {
		return err
	}
	now := metav1.NewTime(time.Now().Truncate(time.Second))
	pin := v1alpha1.Pin{Revision: to, Clusters: o.clusters, Reason: o.reason, By: h.me(ctx), Since: &now}
	if o.expires > 0 {
		until := metav1.NewTime(now.Add(o.expires))
		pin.Expires = &until
	}
	if err := h.setPins(ctx, app, append([]v1alpha1.Pin{pin}, unpinned(app.Spec.Pins, o.clusters)...)); err != nil {
		return err
	}
	c.print("%s pinned to %s", applicationKind.ref(app.Name), to)
	return nil
}

// revisions are an application's, newest first.
func (h *hub) revisions(ctx context.Context, app *v1alpha1.Application) ([]v1alpha1.Revision, error) {
	list, err := fetchAll[v1alpha1.Revision](ctx, h, revisionKind, app.Namespace, metav1.ListOptions{LabelSelector: v1alpha1.LabelApplication + "=" + app.Name})
	slices.SortFunc(list, func(a, b v1alpha1.Revision) int {
		return cmp.Or(b.CreationTimestamp.Compare(a.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
	return list, err
}

// rollouts are an application's, newest first.
func (h *hub) rollouts(ctx context.Context, app *v1alpha1.Application) ([]v1alpha1.RolloutRun, error) {
	list, err := fetchAll[v1alpha1.RolloutRun](ctx, h, rolloutKind, app.Namespace, metav1.ListOptions{LabelSelector: v1alpha1.LabelApplication + "=" + app.Name})
	slices.SortFunc(list, func(a, b v1alpha1.RolloutRun) int {
		return cmp.Compare(b.Spec.Plan.Number, a.Spec.Plan.Number)
	})
	return list, err
}

// me is the user as the hub authenticated them; empty when it does not tell,
// for a rollback must not fail for want of a name.
func (h *hub) me(ctx context.Context) string {
	reviews := schema.GroupVersionResource{Group: "authentication.k8s.io", Version: "v1", Resource: "selfsubjectreviews"}
	review := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}}
	answer, err := h.objects.Resource(reviews).Create(ctx, review, metav1.CreateOptions{})
	if err != nil {
		return ""
	}
	name, _, _ := unstructured.NestedString(answer.Object, "status", "userInfo", "username")
	return name
}

// choose is the revision to go back to: the one named, or the newest before
// the one delivered now that no rollout had to take back.
func choose(app *v1alpha1.Application, revisions []v1alpha1.Revision, runs []v1alpha1.RolloutRun, to string) (string, error) {
	var names []string
	for _, r := range revisions {
		names = append(names, r.Name)
	}
	if to != "" {
		if !slices.Contains(names, to) {
			return "", wrong("application %s has no revision %q%s (atoll history app/%s lists them)", app.Name, to, didYouMean(to, names), app.Name)
		}
		return to, nil
	}
	for _, name := range names[slices.Index(names, app.Status.Revision)+1:] {
		if !failed(app, name, runs) {
			return name, nil
		}
	}
	return "", wrong("application %s has no revision before %s that was not taken back; name one with --to", app.Name, cmp.Or(app.Status.Revision, "the first"))
}

// failed tells that the last rollout of a revision was taken back or halted.
func failed(app *v1alpha1.Application, revision string, runs []v1alpha1.RolloutRun) bool {
	for _, run := range runs {
		if desired.RevisionName(app.Name, desired.Digest(run.Spec.Plan.Target.Digest)) == revision {
			return run.Status.Phase == v1alpha1.RolloutRolledBack || len(run.Status.Failed) > 0
		}
	}
	return false
}

// unpinned are pins without those for the clusters; none means the pin for all.
func unpinned(pins []v1alpha1.Pin, clusters []string) []v1alpha1.Pin {
	var left []v1alpha1.Pin
	for _, pin := range pins {
		switch {
		case len(clusters) == 0 && len(pin.Clusters) == 0:
			continue
		case len(clusters) > 0 && len(pin.Clusters) > 0:
			pin.Clusters = slices.DeleteFunc(slices.Clone(pin.Clusters), func(name string) bool { return slices.Contains(clusters, name) })
			if len(pin.Clusters) == 0 {
				continue
			}
		}
		left = append(left, pin)
	}
	return left
}

// setPins writes the list as a whole, so it must be the list that was read.
func (h *hub) setPins(ctx context.Context, app *v1alpha1.Application, pins []v1alpha1.Pin) error {
	patch := map[string]any{
		"metadata": map[string]any{"resourceVersion": app.ResourceVersion},
		"spec":     map[string]any{"pins": pins},
	}
	return h.merge(ctx, applicationKind, app.Namespace, app.Name, patch)
}

func newUnpin(c *console) *cobra.Command {
	var clusters []string
	all := false
	cmd := &cobra.Command{
		Use:   "unpin app/NAME",
		Short: "Let an application follow its source again",
		Example: `  atoll unpin app/shop
  atoll unpin app/shop -C eu-1
  atoll unpin app/shop --all`,
		Args:              takes(1, "an application: app/NAME"),
		ValidArgsFunction: c.completeRefs(applicationKind),
		RunE: func(cmd *cobra.Command, args []string) error {
			if all && len(clusters) > 0 {
				return wrong("give --all or --cluster, not both")
			}
			return c.unpin(cmd.Context(), args[0], clusters, all)
		},
	}
	cmd.Flags().StringSliceVarP(&clusters, "cluster", "C", nil, "take out the pins of these clusters instead of the one for all")
	cmd.Flags().BoolVar(&all, "all", false, "take out every pin")
	_ = cmd.RegisterFlagCompletionFunc("cluster", c.completeNames(clusterKind))
	return cmd
}

func (c *console) unpin(ctx context.Context, arg string, clusters []string, all bool) error {
	h, app, err := c.open(ctx, arg, aboutApp{output: "text"})
	if err != nil {
		return err
	}
	left := unpinned(app.Spec.Pins, clusters)
	if all {
		left = nil
	}
	if slices.EqualFunc(left, app.Spec.Pins, func(a, b v1alpha1.Pin) bool {
		return a.Revision == b.Revision && slices.Equal(a.Clusters, b.Clusters)
	}) {
		c.say("%s", nothingToUnpin(app, clusters))
		return no()
	}
	if err := h.setPins(ctx, app, left); err != nil {
		return err
	}
	c.print("%s unpinned", applicationKind.ref(app.Name))
	return nil
}

func nothingToUnpin(app *v1alpha1.Application, clusters []string) string {
	switch {
	case len(app.Spec.Pins) == 0:
		return "Nothing pins " + app.Name + "."
	case len(clusters) > 0:
		return "No pin of " + app.Name + " names " + strings.Join(clusters, " or ") + "."
	}
	return app.Name + " is pinned on some clusters only: name them with --cluster, or give --all."
}
