package cli

import "fmt"

// progress tells how far something is: redrawn in place on a terminal, a line
// for each change otherwise.
type progress struct {
	*console
	tty  bool
	last string
}

func (c *console) progress() *progress {
	_, tty := terminal(c.Err)
	return &progress{console: c, tty: tty}
}

func (p *progress) show(line string) {
	if line == p.last {
		return
	}
	p.last = line
	line = visible(line, false)
	if p.tty {
		fmt.Fprintf(p.Err, "\r\x1b[K%s", fit(line, columnsOf(p.Err)))
		return
	}
	fmt.Fprintln(p.Err, line)
}

// done leaves the terminal on a fresh line.
func (p *progress) done() {
	if p.tty && p.last != "" {
		fmt.Fprint(p.Err, "\r\x1b[K")
	}
	p.last = ""
}

// fit cuts a line that would wrap: of two rows only the last is redrawn.
func fit(line string, width int) string {
	runes := []rune(line)
	if len(runes) < width {
		return line
	}
	return string(runes[:max(width-2, 0)]) + "…"
}
