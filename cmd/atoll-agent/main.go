// Command atoll-agent runs in a member cluster and keeps it as its hub says.
package main

import (
	"fmt"
	"os"

	"atoll.dev/atoll/internal/agent"
)

func main() {
	if err := agent.Command().Execute(); err != nil {
		fmt.Fprintln(os.Stderr, "atoll-agent:", err)
		os.Exit(1)
	}
}
