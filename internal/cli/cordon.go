package cli

import (
	"context"

	"github.com/spf13/cobra"
)

func newCordon(c *console) *cobra.Command {
	return &cobra.Command{
		Use:               "cordon CLUSTER...",
		Short:             "Keep new applications away from a cluster; what runs there stays",
		Example:           `  atoll cordon us-east-1`,
		Args:              someArgs("the name of a cluster"),
		ValidArgsFunction: c.completeNames(clusterKind),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.cordon(cmd.Context(), args, true)
		},
	}
}

func newUncordon(c *console) *cobra.Command {
	return &cobra.Command{
		Use:               "uncordon CLUSTER...",
		Short:             "Let new applications onto a cluster again",
		Example:           `  atoll uncordon us-east-1`,
		Args:              someArgs("the name of a cluster"),
		ValidArgsFunction: c.completeNames(clusterKind),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.cordon(cmd.Context(), args, false)
		},
	}
}

// cordon checks every name before it changes the first.
func (c *console) cordon(ctx context.Context, args []string, cordoned bool) error {
	h, err := c.connect()
	if err != nil {
		return err
	}
	word := map[bool]string{true: "cordoned", false: "uncordoned"}[cordoned]
	before := map[string]bool{}
	var names []string
	for _, arg := range args {
		cl, err := h.cluster(ctx, arg)
		if err != nil {
			return err
		}
		before[cl.Name] = cl.Spec.Unschedulable
		names = append(names, cl.Name)
	}
	for _, name := range names {
		if before[name] == cordoned {
			c.print("%s already %s", clusterKind.ref(name), word)
			continue
		}
		if err := h.merge(ctx, clusterKind, "", name, map[string]any{"spec": map[string]any{"unschedulable": cordoned}}); err != nil {
			return err
		}
		c.print("%s %s", clusterKind.ref(name), word)
	}
	return nil
}
