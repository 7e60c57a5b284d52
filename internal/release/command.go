package release

import (
	"github.com/spf13/cobra"
)

// Command is atoll-package.
func Command() *cobra.Command {
	cmd := &cobra.Command{
		Use:           "atoll-package",
		Short:         "Build what a release of Atoll consists of",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	cmd.AddCommand(newImages(), newChart())
	return cmd
}

func newImages() *cobra.Command {
	o := Images{}
	cmd := &cobra.Command{
		Use:   "images",
		Short: "Build container images, without a container engine, and their bills of materials",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.Build(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Source, "source", ".", "the module's root")
	f.StringVar(&o.Out, "out", "dist/images", "folder for the OCI layouts")
	f.StringVar(&o.Version, "version", "dev", "the images' tag")
	f.StringVar(&o.Ldflags, "ldflags", "-s -w", "flags for the linker, which set the version")
	f.StringSliceVar(&o.Names, "images", []string{"atoll-agent", "atoll"}, "which images")
	f.StringSliceVar(&o.Platforms, "platforms", []string{"linux/amd64", "linux/arm64"}, "for which platforms")
	f.StringVar(&o.Push, "push", "", "also push to HOST/REPOSITORY/NAME")
	f.BoolVar(&o.Archive, "archive", false, "also write NAME.tar, which container runtimes import")
	return cmd
}

func newChart() *cobra.Command {
	o := Charts{}
	cmd := &cobra.Command{
		Use:   "chart",
		Short: "Package the Helm charts of hub and agent",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return o.Build(cmd.OutOrStdout(), cmd.ErrOrStderr()) },
	}
	f := cmd.Flags()
	f.StringVar(&o.Source, "source", "charts", "the folder with the charts' folders")
	f.StringVar(&o.Out, "out", "dist/charts", "folder for the archives")
	f.StringVar(&o.Version, "version", "dev", "the release")
	f.StringVar(&o.Repository, "repository", "", "where that release's images are; empty means on the nodes themselves")
	f.StringVar(&o.Push, "push", "", "also push to HOST/REPOSITORY/charts/NAME")
	return cmd
}
