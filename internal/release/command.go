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
	o := Chart{}
	cmd := &cobra.Command{
		Use:   "chart",
		Short: "Package the agent's Helm chart",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return o.Build(cmd.OutOrStdout()) },
	}
	f := cmd.Flags()
	f.StringVar(&o.Source, "source", "charts/atoll-agent", "the chart's folder")
	f.StringVar(&o.Out, "out", "dist/charts", "folder for the archive")
	f.StringVar(&o.Version, "version", "dev", "the release")
	f.StringVar(&o.Image, "image", "atoll-agent:dev", "the agent's image of that release")
	return cmd
}
