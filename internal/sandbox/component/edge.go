package component

import (
	"context"
	"errors"

	"github.com/spf13/pflag"

	"atoll.dev/atoll/internal/sandbox"
)

// runEdge is the way between the clusters of a fleet and the outside.
func runEdge(ctx context.Context, args []string) error {
	flags := pflag.NewFlagSet(sandbox.Edge, pflag.ContinueOnError)
	dir := flags.String("dir", "", "the fleet's directory")
	port := flags.Int("port", 0, "where it is told that something changed")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *dir == "" || *port == 0 {
		return errors.New("the edge needs --dir and --port")
	}
	return sandbox.ServeEdge(ctx, *dir, *port)
}
