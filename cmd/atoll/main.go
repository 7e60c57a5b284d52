// Command atoll is the user's command line and, as `atoll hub`, the hub.
package main

import (
	"context"
	"os"

	// Where the machine has no TLS roots, as in an image from scratch.
	_ "golang.org/x/crypto/x509roots/fallback"

	"atoll.dev/atoll/internal/cli"
	"atoll.dev/atoll/internal/defaulting"
	"atoll.dev/atoll/internal/hub"
	"atoll.dev/atoll/internal/kubectl"
	"atoll.dev/atoll/internal/render/worker"
)

func main() {
	streams := cli.System()
	cli.Defaulting = defaulting.Fill
	os.Exit(cli.Main(context.Background(), streams, os.Args[1:], hub.Command(), kubectl.Command(os.Stdin, os.Stdout, os.Stderr), worker.Command()))
}
