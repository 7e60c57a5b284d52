package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func newTokenList(c *console) *cobra.Command {
	output := ""
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "The tokens of a project, what they may do and until when",
		Example: `  atoll token list -p shop`,
		Args:    takesNothing,
		RunE:    func(cmd *cobra.Command, _ []string) error { return c.listTokens(cmd.Context(), output) },
	}
	addOutput(cmd, &output)
	return cmd
}

// tokenRow is what -o json prints of a token.
type tokenRow struct {
	Name    string      `json:"name"`
	Project string      `json:"project"`
	Role    string      `json:"role"`
	Created metav1.Time `json:"created"`
	Until   string      `json:"until"`
}

func (c *console) listTokens(ctx context.Context, output string) error {
	if err := checkOutput(output); err != nil {
		return err
	}
	h, kube, err := c.tokens()
	if err != nil {
		return err
	}
	accounts, err := kube.CoreV1().ServiceAccounts(h.project).List(ctx, metav1.ListOptions{LabelSelector: tokenLabel})
	if err != nil {
		return fmt.Errorf("list the tokens of %s: %w", h.project, err)
	}
	rows := []tokenRow{}
	for _, a := range accounts.Items {
		rows = append(rows, tokenRow{a.Labels[tokenLabel], h.project, a.Annotations[tokenRole], a.CreationTimestamp, a.Annotations[tokenUntil]})
	}
	slices.SortFunc(rows, func(a, b tokenRow) int { return cmp.Compare(a.Name, b.Name) })
	if output != "text" {
		return encode(c.Out, output, rows)
	}
	if len(rows) == 0 {
		c.say("project %s has no tokens", h.project)
		return nil
	}
	g := grid{head: []string{"NAME", "ROLE", "AGE", "UNTIL"}, width: c.width}
	for _, r := range rows {
		until := r.Until
		if t, err := time.Parse(time.RFC3339, r.Until); err == nil {
			if until = when(t); t.Before(c.now()) {
				until += ", expired"
			}
		}
		g.add(text(r.Name), text(r.Role), text(age(c.now(), r.Created.Time)), text(until))
	}
	return g.write(c.Out, c.ink)
}

func newTokenRevoke(c *console) *cobra.Command {
	return &cobra.Command{
		Use:     "revoke NAME...",
		Short:   "End tokens at once",
		Example: `  atoll token revoke ci -p shop`,
		Args:    someArgs("the name of a token"),
		RunE:    func(cmd *cobra.Command, args []string) error { return c.revokeTokens(cmd.Context(), args) },
	}
}

// revokeTokens checks every name before it ends the first.
func (c *console) revokeTokens(ctx context.Context, names []string) error {
	h, kube, err := c.tokens()
	if err != nil {
		return err
	}
	for _, name := range names {
		account, err := kube.CoreV1().ServiceAccounts(h.project).Get(ctx, tokenAccountPrefix+name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) || err == nil && account.Labels[tokenLabel] != name {
			return wrong("project %s has no token %q (atoll token list -p %s); nothing was revoked", h.project, name, h.project)
		}
		if err != nil {
			return fmt.Errorf("look for token %s: %w", name, err)
		}
	}
	for _, name := range names {
		if err := dropToken(ctx, kube, h.project, name); err != nil {
			return err
		}
		c.print("token %s of project %s revoked", name, h.project)
	}
	return nil
}
