package cli

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"atoll.dev/atoll/api/v1alpha1"
)

type overrideOptions struct {
	reason string
	length time.Duration
	end    bool
}

func newOverride(c *console) *cobra.Command {
	o := overrideOptions{}
	cmd := &cobra.Command{
		Use:   "override KIND/NAME --reason TEXT --for TIME",
		Short: "Let an object of the hub be changed by hand for a while, although an application manages it",
		Long: `Let an object of the hub be changed by hand for a while, although an application with
placement.hub manages it. Until then the hub refuses no change of it and corrects none;
after it the application's word counts again, and what differs is put back.`,
		Example: `  atoll override app/web -p demo --reason 'INC-1234: the repository is down' --for 1h
  atoll override app/web -p demo --end`,
		Args:              takes(1, "what to override, as KIND/NAME"),
		ValidArgsFunction: c.completeRefs(applicationKind),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.override(cmd.Context(), args[0], o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.reason, "reason", "", "why, for those who find it")
	f.DurationVar(&o.length, "for", 0, "how long, at most 24h")
	f.BoolVar(&o.end, "end", false, "end it now")
	return cmd
}

const longestOverride = 24 * time.Hour

func (c *console) override(ctx context.Context, arg string, o overrideOptions) error {
	switch {
	case o.end && (o.reason != "" || o.length != 0):
		return wrong("--end takes neither --reason nor --for")
	case !o.end && strings.TrimSpace(o.reason) == "":
		return wrong("say why with --reason TEXT: it is shown to who finds the object changed")
	case !o.end && (o.length < time.Second || o.length > longestOverride):
		return wrong("say for how long with --for, from 1s to 24h")
	}
	word, name, slash := strings.Cut(arg, "/")
	k, err := findKind(word)
	if !slash || name == "" || err != nil {
		return wrong("%q is not KIND/NAME, such as app/web or cluster/eu-1", arg)
	}
	h, err := c.connect()
	if err != nil {
		return err
	}
	project := ""
	if k.namespaced {
		if k.name != applicationKind.name {
			return wrong("%s are the hub's own records; nobody manages them", k.resource)
		}
		app, err := h.application(ctx, name)
		if err != nil {
			return err
		}
		project = app.Namespace
	}
	annotations := map[string]any{v1alpha1.AnnotationPauseUntil: nil, v1alpha1.AnnotationOverrideReason: nil, v1alpha1.AnnotationOverrideBy: nil}
	until := time.Now().Add(o.length).Truncate(time.Second).UTC().Format(time.RFC3339)
	if !o.end {
		annotations[v1alpha1.AnnotationPauseUntil], annotations[v1alpha1.AnnotationOverrideReason] = until, o.reason
		annotations[v1alpha1.AnnotationOverrideBy] = h.me(ctx)
	}
	if err := h.merge(ctx, k, project, name, map[string]any{"metadata": map[string]any{"annotations": annotations}}); err != nil {
		return err
	}
	if o.end {
		c.print("%s not overridden any more", k.ref(name))
		return nil
	}
	c.print("%s overridden until %s", k.ref(name), until)
	return nil
}
