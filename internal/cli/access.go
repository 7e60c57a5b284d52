package cli

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"atoll.dev/atoll/api/v1alpha1"
	roles "atoll.dev/atoll/internal/access"
)

// notByGrants is what is said of rights that no grant gave.
const notByGrants = "Rights that were given without a grant are not told: the group atoll:admins has all, and RBAC objects of your own count as well."

func newAccess(c *console) *cobra.Command {
	who := roles.Who{}
	output := ""
	cmd := &cobra.Command{
		Use:   "access {--user NAME | --group NAME}...",
		Short: "What a person may do where, and by which grant",
		Long: `What a person may do where, and which grant each right comes from.

Which groups somebody is in is known when they sign in, and not before: give them
with --group.`,
		Example: `  atoll access --user ann@example.com --group shop-team
  atoll access --group shop-team -p shop -o json`,
		Args: takesNothing,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.access(cmd.Context(), who, output)
		},
	}
	f := cmd.Flags()
	f.StringVar(&who.User, "user", "", "a person")
	f.StringArrayVar(&who.Groups, "group", nil, "a group; repeat it for several")
	f.StringVarP(&output, "output", "o", "table", "table or json")
	return cmd
}

func newWhoCan(c *console) *cobra.Command {
	output := ""
	cmd := &cobra.Command{
		Use:   "who-can VERB KIND [-p PROJECT]",
		Short: "Who may do something, where, and by which grant",
		Long: `Who may do something, where, and which grant each right comes from; exit code 1
when no grant lets anybody.

VERB is get, list, create, update, delete, upgrade, bind …; KIND is one of the hub's
kinds, secrets, or what the fleet API has: contents, plans, sync, overview, alerts,
certificates, metrics, audit, join, proxy (into clusters), memory, report.`,
		Example: `  atoll who-can create apps -p shop
  atoll who-can get secrets -p shop
  atoll who-can create proxy`,
		Args: takes(2, "a verb and a kind"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.whoCan(cmd.Context(), args[0], args[1], output)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	return cmd
}

func (c *console) access(ctx context.Context, who roles.Who, output string) error {
	if err := oneOf("output", output, "table", "json"); err != nil {
		return err
	}
	if who.User == "" && len(who.Groups) == 0 {
		return wrong("say of whom, with --user NAME or --group NAME")
	}
	held, _, err := c.held(ctx)
	if err != nil {
		return err
	}
	return c.showHeld(roles.Of(held, who), output)
}

func (c *console) whoCan(ctx context.Context, verb, word, output string) error {
	if err := oneOf("output", output, "table", "json"); err != nil {
		return err
	}
	verb = strings.ToLower(verb)
	if !slices.Contains(roles.Verbs(), verb) {
		return wrong("no role speaks of the verb %q%s (verbs: %s)", verb, didYouMean(verb, roles.Verbs()), strings.Join(roles.Verbs(), ", "))
	}
	what, known := roles.Resources[strings.ToLower(word)]
	if k, err := findKind(word); !known && err == nil {
		what, known = roles.Resources[k.resource]
	}
	if !known {
		var words []string
		for w := range roles.Resources {
			words = append(words, w)
		}
		slices.Sort(words)
		return wrong("no role speaks of %q%s (kinds: %s)", word, didYouMean(word, words), strings.Join(words, ", "))
	}
	held, project, err := c.held(ctx)
	if err != nil {
		return err
	}
	can := roles.Can(held, verb, what, project)
	if err := c.showHeld(can, output); err != nil {
		return err
	}
	if len(can) == 0 {
		return no()
	}
	return nil
}

// held is what all grants give that the caller may see: those of the project that
// was chosen and those that reach into it, or all.
func (c *console) held(ctx context.Context) ([]roles.Held, string, error) {
	h, err := c.connect()
	if err != nil {
		return nil, "", err
	}
	own, err := h.ownNamespace(ctx)
	if err != nil && h.project == "" {
		return nil, "", err
	} else if err != nil {
		c.say("Only grants of project %s itself are told: %s", h.project, sentence(err))
	}
	grants, err := fetchAll[v1alpha1.AccessGrant](ctx, h, grantKind, h.project, metav1.ListOptions{})
	if err != nil {
		return nil, "", err
	}
	if own != "" && h.project != "" && h.project != own {
		wider, err := fetchAll[v1alpha1.AccessGrant](ctx, h, grantKind, own, metav1.ListOptions{})
		if err != nil {
			c.say("Grants for several projects or the fleet are not told: %s", sentence(err))
		}
		grants = append(grants, wider...)
	}
	held := roles.Everything(grants, own, c.now())
	if h.project != "" {
		held = slices.DeleteFunc(held, func(one roles.Held) bool { return one.Scope != h.project && one.Scope != roles.Fleet })
	}
	return held, h.project, nil
}

func (c *console) showHeld(held []roles.Held, output string) error {
	if output == "json" {
		return encode(c.Out, "json", map[string]any{"held": slices.Concat([]roles.Held{}, held)})
	}
	if len(held) == 0 {
		c.say("No grant gives that. %s", notByGrants)
		return nil
	}
	g := grid{head: []string{"WHERE", "WHO", "ROLE", "GRANT", "UNTIL"}, width: c.width}
	for _, h := range held {
		until := ""
		if h.Until != nil {
			until = h.Until.UTC().Format(time.RFC3339)
		}
		g.add(text(roles.Place(h.Scope)), text(strings.ToLower(h.Kind)+" "+h.Name), text(string(h.Role)), text(h.Grant), text(until))
	}
	if err := g.write(c.Out, c.ink); err != nil {
		return err
	}
	c.say("%s", notByGrants)
	return nil
}
