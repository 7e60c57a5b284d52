package cli

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"atoll.dev/atoll/api/v1alpha1"
	roles "atoll.dev/atoll/internal/access"
)

type grantOptions struct {
	users, groups, projects []string
	fleet                   bool
	lasts                   time.Duration
	name, reason            string
}

func newGrant(c *console) *cobra.Command {
	o := grantOptions{}
	cmd := &cobra.Command{
		Use:   "grant ROLE {--user NAME | --group NAME}... {-p PROJECT | --projects A,B | --fleet}",
		Short: "Give people a role in a project, in some or in the fleet",
		Long: `Give people a role, by an AccessGrant that anyone who may can read and take back.

ROLE is viewer, developer, releaser, operator, secrets, auditor or admin. Users and
groups are named as the hub knows them when they sign in. Nobody gives a role that
they do not hold where they give it; an admin of a project gives roles in it, and
secrets only with that role besides.`,
		Example: `  atoll grant developer --group shop-team -p shop
  atoll grant operator --user ann@example.com --fleet --for 8h --reason 'on call'
  atoll grant viewer --group support --projects shop,bank`,
		Args:              takes(1, "a role"),
		ValidArgsFunction: cobra.FixedCompletions(roles.Names(), cobra.ShellCompDirectiveNoFileComp),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.grant(cmd.Context(), args[0], o)
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&o.users, "user", nil, "a person; repeat it for several")
	f.StringArrayVar(&o.groups, "group", nil, "a group; repeat it for several")
	f.StringSliceVar(&o.projects, "projects", nil, "these projects, by one grant in the hub's own namespace")
	f.BoolVar(&o.fleet, "fleet", false, "every project, and what belongs to none")
	f.DurationVar(&o.lasts, "for", 0, "end by itself after this time (default: never)")
	f.StringVar(&o.name, "name", "", "name of the grant (default: made of role and first name)")
	f.StringVar(&o.reason, "reason", "", "why, for those who find it later")
	return cmd
}

func newRevoke(c *console) *cobra.Command {
	fleet := false
	cmd := &cobra.Command{
		Use:   "revoke NAME {-p PROJECT | --fleet}",
		Short: "Take a grant back; it has gone when this ends",
		Example: `  atoll revoke developer-shop-team -p shop
  atoll revoke operator-ann-example-com --fleet`,
		Args: takes(1, "the name of a grant"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.revoke(cmd.Context(), args[0], fleet)
		},
	}
	cmd.Flags().BoolVar(&fleet, "fleet", false, "a grant for the fleet or for several projects")
	return cmd
}

func (c *console) grant(ctx context.Context, role string, o grantOptions) error {
	if err := oneOf("role", role, roles.Names()...); err != nil {
		return wrong("there is no role %q%s (roles: %s)", role, didYouMean(role, roles.Names()), strings.Join(roles.Names(), ", "))
	}
	switch {
	case len(o.users)+len(o.groups) == 0:
		return wrong("say to whom, with --user NAME or --group NAME")
	case o.lasts < 0:
		return wrong("--for is a time that passes, such as 8h")
	case o.fleet && len(o.projects) > 0:
		return wrong("--fleet and --projects exclude each other")
	}
	h, err := c.connect()
	if err != nil {
		return err
	}
	namespace, err := h.grantsIn(ctx, o.fleet || len(o.projects) > 0)
	if err != nil {
		return err
	}
	spec := map[string]any{"role": role}
	for field, words := range map[string][]string{"users": o.users, "groups": o.groups, "projects": o.projects} {
		if len(words) > 0 {
			spec[field] = anys(words)
		}
	}
	if o.reason != "" {
		spec["reason"] = o.reason
	}
	if o.lasts > 0 {
		spec["until"] = c.now().Add(o.lasts).UTC().Format(time.RFC3339)
	}
	name := o.name
	if name == "" {
		name = grantName(role, slices.Concat(o.users, o.groups)[0])
	}
	_, err = h.of(grantKind, namespace).Create(ctx, newObject(grantKind, namespace, name, spec), metav1.CreateOptions{FieldManager: fieldManager})
	switch {
	case apierrors.IsNotFound(err) && !notServed(err):
		return wrong("there is no project %q%s", namespace, didYouMean(namespace, h.names(ctx, projectKind, "")))
	case apierrors.IsAlreadyExists(err):
		return wrong("there is a grant %q already: take it back with atoll revoke, or give this one another name with --name", name)
	case err != nil:
		return err
	}
	c.print("%s created", grantKind.ref(name))
	return c.awaitGrant(ctx, h, namespace, name)
}

// grantsIn is the namespace of grants of a project, or of those that are wider.
func (h *hub) grantsIn(ctx context.Context, wider bool) (string, error) {
	if !wider {
		if h.project == "" {
			return "", wrong("say where: --project NAME, --projects A,B or --fleet")
		}
		return h.project, nil
	}
	return h.ownNamespace(ctx)
}

// grantTime is how long a busy hub has to give or take what a grant says.
const grantTime = time.Minute

// awaitGrant waits until the grant holds, so that what is tried next is allowed; for
// projects that are not there it does not wait as long.
func (c *console) awaitGrant(ctx context.Context, h *hub, namespace, name string) error {
	var why string
	holds, began := false, time.Now()
	err := wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, grantTime, true, func(ctx context.Context) (bool, error) {
		g, err := fetch[v1alpha1.AccessGrant](ctx, h, grantKind, namespace, name)
		if err != nil {
			return false, err
		}
		ready := meta.FindStatusCondition(g.Status.Conditions, v1alpha1.ConditionReady)
		if ready == nil {
			return false, nil
		}
		why, holds = ready.Message, ready.Status == metav1.ConditionTrue
		return holds || ready.Reason == roles.ReasonEnded || len(g.Status.Pending) > 0 && time.Since(began) > noteTime, nil
	})
	switch {
	case holds:
		return nil
	case why != "":
		c.say("It is written, and does not hold yet: %s", why)
	case ctx.Err() == nil:
		c.say("It is written, and the hub has not said yet that it holds: %s", sentence(err))
	}
	return nil
}

func (c *console) revoke(ctx context.Context, arg string, fleet bool) error {
	name, err := parseRef(arg, grantKind)
	if err != nil {
		return err
	}
	h, err := c.connect()
	if err != nil {
		return err
	}
	namespace, err := h.grantsIn(ctx, fleet)
	if err != nil {
		return err
	}
	if err := h.of(grantKind, namespace).Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
		return h.missing(ctx, grantKind, namespace, name, err)
	}
	err = wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, grantTime, true, func(ctx context.Context) (bool, error) {
		_, err := h.of(grantKind, namespace).Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsForbidden(err) {
			return false, err // who may only take it back is not told
		}
		return apierrors.IsNotFound(err), nil
	})
	if err != nil {
		return fmt.Errorf("%s is taken back, and the hub has not said yet that nobody holds anything by it: %w", grantKind.ref(name), err)
	}
	c.print("%s revoked", grantKind.ref(name))
	return nil
}

var notInNames = regexp.MustCompile(`[^a-z0-9]+`)

// grantName is made of the role and of whom it is given to.
func grantName(role, subject string) string {
	const most = 50
	word := notInNames.ReplaceAllString(strings.ToLower(subject), "-")
	return strings.Trim((role + "-" + word)[:min(most, len(role)+1+len(word))], "-")
}

func anys(words []string) []any {
	out := make([]any, 0, len(words))
	for _, w := range words {
		out = append(out, w)
	}
	return out
}

func grantPage(g *v1alpha1.AccessGrant, v view) *page {
	p := &page{}
	p.meta(g.ObjectMeta)
	p.field("Role", string(g.Spec.Role))
	p.field("Users", strings.Join(g.Spec.Users, ", "))
	p.field("Groups", strings.Join(g.Spec.Groups, ", "))
	p.field("Projects", strings.Join(g.Spec.Projects, ", "))
	if g.Spec.Until != nil {
		p.field("Until", g.Spec.Until.UTC().Format(time.RFC3339))
	}
	p.field("Why", g.Spec.Reason)
	if ready := meta.FindStatusCondition(g.Status.Conditions, v1alpha1.ConditionReady); ready != nil {
		p.field("State", ready.Reason+", for "+age(v.now, ready.LastTransitionTime.Time)+": "+ready.Message)
	}
	t := grid{head: []string{"PROJECT", "REASON"}, width: v.width}
	for _, pending := range g.Status.Pending {
		t.add(text(pending.Project), text(pending.Reason))
	}
	p.table("Where it does not hold", t)
	return p
}
