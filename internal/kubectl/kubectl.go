// Package kubectl is the kubectl inside bin/atoll, for machines that have none:
// all of it, at the version of Kubernetes that the hub embeds. Which cluster it
// speaks to is decided by the kubeconfig that internal/cli hands it.
package kubectl

import (
	"io"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/kubectl/pkg/cmd"
	"k8s.io/kubectl/pkg/cmd/util"

	"atoll.dev/atoll/internal/cli"
)

// Command is the hidden verb that `atoll kubectl` runs as a process of its own:
// kubectl ends its process itself, with its own exit codes.
func Command(in io.Reader, out, words io.Writer) *cobra.Command {
	return &cobra.Command{
		Use:                cli.BuiltInKubectl,
		Short:              "kubectl itself, with the kubeconfig of the environment",
		Hidden:             true,
		DisableFlagParsing: true,
		RunE: func(_ *cobra.Command, args []string) error {
			streams := genericiooptions.IOStreams{In: in, Out: out, ErrOut: words}
			flags := genericclioptions.NewConfigFlags(true).WithDeprecatedPasswordFlag().WithWarningPrinter(streams)
			kubectl := cmd.NewKubectlCommand(cmd.KubectlOptions{ConfigFlags: flags, IOStreams: streams})
			kubectl.SetArgs(args)
			kubectl.SetIn(in)
			kubectl.SetOut(out)
			kubectl.SetErr(words)
			util.CheckErr(kubectl.Execute()) // prints, and ends the process
			return nil
		},
	}
}
