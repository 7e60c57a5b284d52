package command

import (
	"fmt"

	"github.com/spf13/cobra"

	"atoll.dev/atoll/internal/sandbox"
)

func realNodesFlag(cmd *cobra.Command, real *bool) {
	cmd.Flags().BoolVar(real, "real-nodes", false, "one node that runs containers, of images that load gave it, in place of simulated ones; needs root and what make node builds")
}

// checkRealNodes finds out before anything starts.
func checkRealNodes(specs []sandbox.ClusterSpec) error {
	for _, spec := range specs {
		if !spec.RealNodes {
			continue
		}
		if err := sandbox.CheckRealNodes(); err != nil {
			return fmt.Errorf("cluster %s: %w", spec.Name, err)
		}
	}
	return nil
}

func newLoad(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "load NAME ARCHIVE...",
		Short: "Give the real node of a cluster images, from OCI archives",
		Long: "Give the real node of a cluster images, from OCI archives such as those of `make images`.\n" +
			"Nothing is ever pulled: an image that was not loaded cannot run.",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 2 {
				return usagef("name a cluster and at least one archive")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := o.fleet().Cluster(args[0])
			if err != nil {
				return err
			}
			for _, archive := range args[1:] {
				if err := c.LoadImage(cmd.Context(), archive); err != nil {
					return err
				}
				fmt.Fprintf(cmd.ErrOrStderr(), "loaded %s\n", archive)
			}
			return nil
		},
	}
}
