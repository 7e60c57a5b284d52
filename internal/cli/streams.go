package cli

import (
	"io"
	"os"

	"golang.org/x/term"
)

// Streams are where a command reads and writes.
type Streams struct {
	In  io.Reader
	Out io.Writer
	Err io.Writer
}

// System is the process's own streams.
func System() Streams { return Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr} }

// defaultWidth is for output that no terminal bounds.
const defaultWidth = 100

// terminal reports whether v is one, and how wide.
func terminal(v any) (width int, ok bool) {
	f, isFile := v.(*os.File)
	if !isFile || !term.IsTerminal(int(f.Fd())) {
		return defaultWidth, false
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil || width < 40 {
		return defaultWidth, true
	}
	return width, true
}

// columnsOf is how wide the terminal is now, however narrow.
func columnsOf(v any) int {
	if f, ok := v.(*os.File); ok {
		if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 0 {
			return width
		}
	}
	return defaultWidth
}

// interactive reports whether a question can be asked.
func (s Streams) interactive() bool {
	_, in := terminal(s.In)
	_, err := terminal(s.Err)
	return in && err
}
