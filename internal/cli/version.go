package cli

import (
	"context"
	"runtime"

	"github.com/spf13/cobra"

	"atoll.dev/atoll/internal/fleet"
	"atoll.dev/atoll/internal/version"
)

func newVersion(c *console) *cobra.Command {
	var client bool
	output := ""
	cmd := &cobra.Command{
		Use:   "version",
		Short: "The versions of this program and of the hub, and how the hub stores",
		Example: `  atoll version
  atoll version --client
  atoll version -o json`,
		Args: takesNothing,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.version(cmd.Context(), client, output)
		},
	}
	cmd.Flags().BoolVar(&client, "client", false, "only this program; do not ask the hub")
	addOutput(cmd, &output)
	return cmd
}

// versions is what -o json prints.
type versions struct {
	Client string         `json:"client"`
	Go     string         `json:"go"`
	Hub    *fleet.HubInfo `json:"hub,omitempty"`
}

// version prints what is known even when the hub is away, and then says so.
func (c *console) version(ctx context.Context, client bool, output string) error {
	if err := checkOutput(output); err != nil {
		return err
	}
	v := versions{Client: version.Version, Go: runtime.Version()}
	var failure error
	if !client {
		v.Hub, failure = c.hubInfo(ctx)
	}
	if output != "text" {
		if err := encode(c.Out, output, v); err != nil {
			return err
		}
		return failure
	}
	g := grid{}
	g.add(text("Client"), text(v.Client+" ("+v.Go+")"))
	if v.Hub != nil {
		g.add(text("Hub"), text(v.Hub.Version))
		g.add(text("Incarnation"), text(v.Hub.Incarnation))
		g.add(text("Storage"), text(v.Hub.Storage))
	}
	if err := g.write(c.Out, c.ink); err != nil {
		return err
	}
	return failure
}

func (c *console) hubInfo(ctx context.Context) (*fleet.HubInfo, error) {
	h, err := c.connect()
	if err != nil {
		return nil, err
	}
	o, err := h.fleet.Overview(ctx)
	if err != nil {
		return nil, notAHub(h, err)
	}
	return &o.Hub, nil
}
