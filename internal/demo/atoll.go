package demo

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// project is the shop's, as examples/shop/project.yaml says.
const project = "demo"

// atoll is one call of the command line, as a person would make it.
func (d *Demo) atoll(ctx context.Context, in io.Reader, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, d.program("atoll"), args...)
	cmd.Env = append(os.Environ(), "ATOLL_KUBECONFIG="+d.kubeconfig(), "ATOLL_PROJECT="+project)
	cmd.Stdin = in
	return cmd
}

// ask returns what the command printed; its words are in the error.
func (d *Demo) ask(ctx context.Context, in io.Reader, args ...string) ([]byte, error) {
	var out, words bytes.Buffer
	cmd := d.atoll(ctx, in, args...)
	cmd.Stdout, cmd.Stderr = &out, &words
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("atoll %s: %w: %s", args[0], err, strings.TrimSpace(words.String()))
	}
	return out.Bytes(), nil
}

// run shows the command and what it says.
func (d *Demo) run(ctx context.Context, args ...string) error {
	d.say("$ atoll %s", strings.Join(args, " "))
	cmd := d.atoll(ctx, nil, args...)
	cmd.Stdout, cmd.Stderr = d.Words, d.Words
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("atoll %s: %w", args[0], err)
	}
	return nil
}

// lastLine is the end of a log.
func lastLine(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return lines[len(lines)-1]
}
