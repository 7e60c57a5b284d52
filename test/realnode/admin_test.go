package realnode_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"atoll.dev/atoll/internal/testfleet"
)

// admin is who runs a hub, with the command line and the kubeconfig of its API.
type admin struct {
	b                   *bed
	program, kubeconfig string
}

// program is the command line.
func (b *bed) program() string {
	b.t.Helper()
	program, err := testfleet.Program("atoll")
	if err != nil {
		b.t.Fatal(err)
	}
	return program
}

// cli runs atoll and returns what it printed.
func (a admin) cli(stdin string, args ...string) string {
	a.b.t.Helper()
	ctx, cancel := context.WithTimeout(a.b.t.Context(), 2*patience)
	defer cancel()
	out, err := a.run(ctx, stdin, args...)
	if err != nil {
		a.b.t.Fatal(err)
	}
	return out
}

func (a admin) run(ctx context.Context, stdin string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, a.program, args...)
	cmd.Env = append(os.Environ(), "ATOLL_KUBECONFIG="+a.kubeconfig, "NO_COLOR=1")
	var out, words bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &words
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("atoll %s: %w\n%s%s", strings.Join(args, " "), err, &out, &words)
	}
	return out.String(), nil
}
