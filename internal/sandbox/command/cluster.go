package command

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"atoll.dev/atoll/internal/sandbox"
)

func newKubeconfig(o *options) *cobra.Command {
	var inside bool
	cmd := &cobra.Command{
		Use:   "kubeconfig NAME",
		Short: "Print the admin's kubeconfig of a cluster",
		Args:  oneCluster,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := o.fleet().Cluster(args[0])
			if err != nil {
				return err
			}
			path := c.KubeconfigPath()
			if inside {
				path = c.InsideKubeconfigPath()
			}
			data, err := os.ReadFile(path)
			if err != nil {
				return fmt.Errorf("cluster %s: %w", c.Name(), err)
			}
			_, err = cmd.OutOrStdout().Write(data)
			return err
		},
	}
	cmd.Flags().BoolVar(&inside, "inside", false, "past the edge, as what is inside the cluster reaches it: no fault of the network is between")
	return cmd
}

func newDown(o *options) *cobra.Command {
	var names []string
	cmd := &cobra.Command{
		Use:   "down",
		Short: "End clusters and remove their files; all of them unless some are named",
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("clusters") && len(names) == 0 {
				return usagef("--clusters names no cluster")
			}
			if err := o.fleet().Down(names...); err != nil {
				return err
			}
			fmt.Fprintln(cmd.ErrOrStderr(), "down")
			return nil
		},
	}
	cmd.Flags().StringSliceVar(&names, "clusters", nil, "names of the clusters, separated by commas")
	return cmd
}

func newStart(o *options) *cobra.Command {
	return onCluster(o, "start NAME", "Start what of a cluster does not run, and wait until it is ready",
		func(ctx context.Context, c *sandbox.Cluster) error { return c.Start(ctx) })
}
