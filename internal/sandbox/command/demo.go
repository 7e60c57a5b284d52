package command

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"atoll.dev/atoll/internal/demo"
)

func newDemo() *cobra.Command {
	var dir, shop string
	cmd := &cobra.Command{
		Use:   "demo up|down|kill",
		Short: "A hub, five clusters and the sample shop, on this machine",
		Args:  noArguments,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	// Hides the flag of the same name for clusters alone.
	cmd.PersistentFlags().StringVar(&dir, "dir", demo.DefaultDir, "where the demo's files lie")
	open := func(cmd *cobra.Command) (*demo.Demo, error) {
		self, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("find the programs: %w", err)
		}
		return demo.New(demo.Options{Dir: dir, Bin: filepath.Dir(self), Shop: shop, Out: cmd.OutOrStdout(), Words: cmd.ErrOrStderr()})
	}
	up := &cobra.Command{
		Use:   "up",
		Short: "Bring up whatever of the demo does not run, and wait until the shop is healthy",
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d, err := open(cmd)
			if err != nil {
				return err
			}
			return d.Up(cmd.Context())
		},
	}
	up.Flags().StringVar(&shop, "shop", filepath.Join("examples", "shop"), "folder of the sample application")
	down := &cobra.Command{
		Use:   "down",
		Short: "End what the demo started, and remove its files",
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d, err := open(cmd)
			if err != nil {
				return err
			}
			return d.Down()
		},
	}
	kill := &cobra.Command{
		Use:   "kill hub | agent/NAME | cluster/NAME",
		Short: "End one part as a crash would; `up` brings it back",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("%s takes hub, agent/NAME or cluster/NAME", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := open(cmd)
			if err != nil {
				return err
			}
			return d.Kill(args[0])
		},
	}
	cmd.AddCommand(up, down, kill)
	return cmd
}
