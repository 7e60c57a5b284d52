// Atoll-sandbox runs real Kubernetes clusters on this machine, without
// containers. It is also each of the servers that they consist of.
package main

import (
	"os"

	"atoll.dev/atoll/internal/sandbox/command"
	"atoll.dev/atoll/internal/sandbox/component"
)

func main() {
	// Before anything else is set up: five clusters are 25 such processes.
	if len(os.Args) > 1 && os.Args[1] == "component" {
		os.Exit(component.Main(os.Args[2:]))
	}
	os.Exit(command.Main(os.Args[1:], os.Stdout, os.Stderr))
}
