package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
)

// confirm asks for the name of what is about to go. Without a terminal the
// name must stand in --confirm: a script says it, a slip of the hand does not.
func (c *console) confirm(name, given string) error {
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
	line, err := bufio.NewReader(c.In).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read the answer: %w", err)
	}
	if strings.TrimSpace(line) != name {
		return wrong("that is not the name; nothing was changed")
	}
	return nil
}
