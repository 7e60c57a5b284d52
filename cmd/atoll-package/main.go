// Command atoll-package builds what a release consists of; it is not part of one.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"atoll.dev/atoll/internal/release"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := release.Command().ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "atoll-package:", err)
		os.Exit(1)
	}
}
