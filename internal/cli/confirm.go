package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// consent is what was said before anybody asked.
type consent struct {
	name string
	yes  bool
}

func (s *consent) addFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.name, "confirm", "", "the name again, instead of being asked for it")
	cmd.Flags().BoolVar(&s.yes, "yes", false, "do it without asking")
}

// confirm asks for the name of what is about to go. Without a terminal the name
// must stand in --confirm, which a script says and a slip of the hand does not, or
// --yes takes the place of all names.
func (c *console) confirm(ctx context.Context, name string, given consent) error {
	switch {
	case given.name != "" && given.name != name:
		return wrong("--confirm %q is not the name %q; nothing was changed", given.name, name)
	case given.name != "" || given.yes:
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
