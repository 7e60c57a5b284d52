package cli

import "github.com/spf13/cobra"

// newHelp is cobra's help command, but a verb that does not exist is a mistake
// and not a reason to print everything.
func newHelp() *cobra.Command {
	return &cobra.Command{
		Use:     "help [VERB]",
		Short:   "Help about any command",
		Example: `  atoll help deploy`,
		GroupID: groupOther,
		RunE: func(cmd *cobra.Command, args []string) error {
			verb, rest, err := cmd.Root().Find(args)
			if err != nil || verb == nil || len(rest) > 0 && verb == cmd.Root() {
				return unknownVerb(cmd.Root(), args)
			}
			return verb.Help()
		},
	}
}

// strictShells makes the completion command refuse a shell that it does not
// know, instead of printing its help as if that were a success.
func strictShells(root *cobra.Command) {
	for _, cmd := range root.Commands() {
		if cmd.Name() != "completion" {
			continue
		}
		var shells []string
		for _, shell := range cmd.Commands() {
			shells = append(shells, shell.Name())
		}
		cmd.Args = cobra.ArbitraryArgs
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return wrong("say for which shell: %s", list(shells, len(shells)))
			}
			return wrong("there is no completion for %q, only for %s%s", args[0], list(shells, len(shells)), didYouMean(args[0], shells))
		}
	}
}
