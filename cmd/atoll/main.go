// Command atoll is the user's command line and, as `atoll hub`, the hub.
package main

import (
	"context"
	"os"

	"atoll.dev/atoll/internal/cli"
	"atoll.dev/atoll/internal/hub"
)

func main() {
	streams := cli.System()
	os.Exit(cli.Main(context.Background(), streams, os.Args[1:], hub.Command()))
}
