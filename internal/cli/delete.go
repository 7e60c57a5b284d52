package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/fleet"
)

type deleteOptions struct {
	consent consent
	orphan  bool
	objects bool
}

func newDelete(c *console) *cobra.Command {
	o := deleteOptions{}
	cmd := &cobra.Command{
		Use:   "delete app/NAME|project/NAME|placement/NAME",
		Short: "Delete an application, after showing what that does on each cluster",
		Long: `Delete an application, an empty project or an unused placement. For an application
it first lists what happens on each cluster: by default its objects stay
(onDelete: Orphan). It asks for the name on a terminal; scripts give --confirm.

To let go of a cluster use "atoll remove".`,
		Example: `  atoll delete app/shop
  atoll delete app/shop --orphan --confirm shop
  atoll delete app/shop --delete-objects --confirm shop && atoll wait app/shop --for=deleted`,
		Args:              takes(1, "an object: app/NAME"),
		ValidArgsFunction: c.completeRefs(applicationKind),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.delete(cmd.Context(), args[0], o)
		},
	}
	f := cmd.Flags()
	o.consent.addFlags(cmd)
	f.BoolVar(&o.orphan, "orphan", false, "leave the objects on the clusters, whatever the application says")
	f.BoolVar(&o.objects, "delete-objects", false, "delete the objects from the clusters, whatever the application says")
	return cmd
}

func (c *console) delete(ctx context.Context, arg string, o deleteOptions) error {
	if o.orphan && o.objects {
		return wrong("--orphan and --delete-objects exclude each other")
	}
	k := applicationKind
	if word, _, slash := strings.Cut(arg, "/"); slash {
		var err error
		if k, err = findKind(word); err != nil {
			return err
		}
	}
	switch k.name {
	case applicationKind.name:
		return c.deleteApplication(ctx, arg, o)
	case projectKind.name, placementKind.name:
		if o.orphan || o.objects {
			return wrong("--orphan and --delete-objects are for applications")
		}
		return c.deletePlain(ctx, k, arg, o.consent)
	case clusterKind.name:
		return wrong("a cluster is not deleted but let go: atoll remove %s", strings.TrimPrefix(arg[strings.Index(arg, "/"):], "/"))
	case grantKind.name:
		return wrong("a grant is not deleted but taken back: atoll revoke %s", strings.TrimPrefix(arg[strings.Index(arg, "/"):], "/"))
	default:
		return wrong("%ss are records of the hub; it removes them when nothing needs them any more", k.singular())
	}
}

func (c *console) deleteApplication(ctx context.Context, arg string, o deleteOptions) error {
	if _, err := parseRef(arg, applicationKind); err != nil {
		return err
	}
	h, err := c.connect()
	if err != nil {
		return err
	}
	app, err := h.application(ctx, arg)
	if err != nil {
		return err
	}
	policy := deletionPolicy(app, o)
	states, err := h.fleet.ApplicationClusters(ctx, app.Namespace, app.Name)
	if err != nil {
		return err
	}
	if err := c.forecast(app, policy, states.Clusters); err != nil {
		return err
	}
	if err := c.confirm(ctx, app.Name, o.consent); err != nil {
		return err
	}
	if policy != app.Spec.OnDelete {
		patch := map[string]any{"spec": map[string]any{"onDelete": string(policy)}}
		if err := h.merge(ctx, applicationKind, app.Namespace, app.Name, patch); err != nil {
			return err
		}
	}
	// The UID keeps an application of the same name, made meanwhile, alive.
	uid := app.UID
	err = h.of(applicationKind, app.Namespace).Delete(ctx, app.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete %s: %w", app.Name, err)
	}
	c.print("%s deleted", applicationKind.ref(app.Name))
	if len(states.Clusters) > 0 {
		c.say("Its clusters let go of it as they hear of it; follow with: atoll wait %s --for=deleted", appRef(app.Namespace, app.Name))
	}
	return nil
}

func deletionPolicy(app *v1alpha1.Application, o deleteOptions) v1alpha1.DeletionPolicy {
	switch {
	case o.orphan:
		return v1alpha1.Orphan
	case o.objects:
		return v1alpha1.Delete
	case app.Spec.OnDelete == "":
		return v1alpha1.Orphan
	default:
		return app.Spec.OnDelete
	}
}

// forecast lists what the deletion does on each cluster.
func (c *console) forecast(app *v1alpha1.Application, policy v1alpha1.DeletionPolicy, states []fleet.ClusterState) error {
	c.say("Deleting application %s of project %s:", app.Name, app.Namespace)
	g := grid{indent: "  "}
	for _, s := range states {
		g.add(text(s.Cluster), text(fate(policy, s)), text(reachability(s)))
	}
	if len(states) == 0 {
		g.add(text("it is on no cluster"))
	}
	return g.write(c.Err, false)
}

func fate(policy v1alpha1.DeletionPolicy, s fleet.ClusterState) string {
	objects := count(s.State.Objects, "object")
	if policy == v1alpha1.Delete {
		return objects + " will be DELETED"
	}
	return objects + " will stay and run on, without Atoll"
}

func reachability(s fleet.ClusterState) string {
	if s.Connection == v1alpha1.Connected {
		return ""
	}
	return "once it is back (now " + strings.ToLower(string(s.Connection)) + ")"
}

// deletePlain deletes what has no objects on clusters, and refuses while
// something still needs it.
func (c *console) deletePlain(ctx context.Context, k kind, arg string, given consent) error {
	name, err := parseRef(arg, k)
	if err != nil {
		return err
	}
	h, err := c.connect()
	if err != nil {
		return err
	}
	if _, err := h.of(k, "").Get(ctx, name, metav1.GetOptions{}); err != nil {
		return h.missing(ctx, k, "", name, err)
	}
	users, err := h.users(ctx, k, name)
	if err != nil {
		return err
	}
	if len(users) > 0 {
		return wrong("%s %s is still needed by %s; delete or change them first", k.singular(), name, list(users, 5))
	}
	if err := c.confirm(ctx, name, given); err != nil {
		return err
	}
	if err := h.of(k, "").Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
		return fmt.Errorf("delete %s %s: %w", k.singular(), name, err)
	}
	c.print("%s deleted", k.ref(name))
	return nil
}

// users are the applications that need a project or a placement.
func (h *hub) users(ctx context.Context, k kind, name string) ([]string, error) {
	project := ""
	if k.name == projectKind.name {
		project = name
	}
	apps, err := fetchAll[v1alpha1.Application](ctx, h, applicationKind, project, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	var users []string
	for _, app := range apps {
		if project != "" || app.Spec.Placement != nil && app.Spec.Placement.Ref == name {
			users = append(users, app.Namespace+"/"+app.Name)
		}
	}
	return users, nil
}
