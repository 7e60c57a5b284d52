package cli

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// completionTimeout keeps the shell responsive when the hub is away.
const completionTimeout = 2 * time.Second

type completer = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective)

// completeNames offers the names of one kind.
func (c *console) completeNames(k kind) completer {
	return func(cmd *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
		return c.namesFor(cmd, k, "", typed), cobra.ShellCompDirectiveNoFileComp
	}
}

// completeRefs offers app/NAME as the only argument.
func (c *console) completeRefs(k kind) completer {
	return func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		prefix, name, slash := strings.Cut(typed, "/")
		if !slash {
			prefix, name = k.word, typed
		}
		return c.namesFor(cmd, k, prefix+"/", name), cobra.ShellCompDirectiveNoFileComp
	}
}

func (c *console) completeKinds(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return nouns, cobra.ShellCompDirectiveNoFileComp
	}
	k, err := findKind(args[0])
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return c.namesFor(cmd, k, "", typed), cobra.ShellCompDirectiveNoFileComp
}

func (c *console) namesFor(cmd *cobra.Command, k kind, prefix, typed string) []string {
	h, err := c.connect()
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
	defer cancel()
	var offers []string
	for _, name := range h.names(ctx, k, h.project) {
		if strings.HasPrefix(name, typed) {
			offers = append(offers, prefix+name)
		}
	}
	return offers
}
