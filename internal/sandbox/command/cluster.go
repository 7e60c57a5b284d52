package command

import (
	"fmt"

	"github.com/spf13/cobra"

	"atoll.dev/atoll/internal/sandbox"
)

func newKubeconfig(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "kubeconfig NAME",
		Short: "Print the admin's kubeconfig of a cluster",
		Args:  oneCluster,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := o.fleet().Cluster(args[0])
			if err != nil {
				return err
			}
			data, err := c.Kubeconfig()
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(data)
			return err
		},
	}
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

func newKill(o *options) *cobra.Command {
	var api bool
	var components []string
	cmd := &cobra.Command{
		Use:   "kill NAME",
		Short: "End a cluster's processes as a power cut would; start brings them back",
		Args:  oneCluster,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := o.fleet().Cluster(args[0])
			if err != nil {
				return err
			}
			if api {
				components = append(components, sandbox.APIServer)
			}
			return c.Kill(components...)
		},
	}
	cmd.Flags().BoolVar(&api, "api", false, "end only its API server")
	cmd.Flags().StringSliceVar(&components, "component", nil, "end only these components")
	return cmd
}

func newStart(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "start NAME",
		Short: "Start what of a cluster does not run, and wait until it is ready",
		Args:  oneCluster,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := o.fleet().Cluster(args[0])
			if err != nil {
				return err
			}
			return c.Start(cmd.Context())
		},
	}
}
