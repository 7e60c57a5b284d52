package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
)

// confirm asks for the name of what is about to go. Without a terminal the
// name must stand in --confirm: a script says it, a slip of the hand does not.
func (c *console) confirm(ctx context.Context, name, given string) error {
	if given != "" {
		if given != name {
			return wrong("--confirm %q is not the name %q; nothing was changed", given, name)
		}
		return nil
	}
	if !c.interactive() {
		return wrong("nothing was changed; to go on without a terminal add: --confirm %s", name)
	}
	fmt.Fprintf(c.Err, "Type the name %s to go on: ", c.ink.paint(bold, name))
	line, err := c.readLine(ctx)
	if err != nil {
		fmt.Fprintln(c.Err) // the question's line is not ended yet
		return fmt.Errorf("read the answer: %w; nothing was changed", err)
	}
	if strings.TrimSpace(line) != name {
		return wrong("that is not the name; nothing was changed")
	}
	return nil
}

// readLine reads until Enter, or until ctx ends: a read of a terminal does not
// hear of Ctrl-C, and is left behind.
func (c *console) readLine(ctx context.Context) (string, error) {
	type answer struct {
		line string
		err  error
	}
	read := make(chan answer, 1)
	go func() {
		line, err := bufio.NewReader(c.In).ReadString('\n')
		read <- answer{line, err}
	}()
	select {
	case a := <-read:
		if errors.Is(a.err, io.EOF) && a.line != "" {
			a.err = nil
		}
		return a.line, a.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}
