package cli

import (
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// screen shows what agents, members and templates said as it is, and obeys none
// of it: control characters become visible, but for line ends, tabs and our own
// paint. JSON and YAML pass unaltered, which have no control characters.
type screen struct {
	io.Writer
	ink ink
}

// Write claims all of p, whose length the visible text may not have.
func (s screen) Write(p []byte) (int, error) {
	if _, err := io.WriteString(s.Writer, visible(string(p), s.ink)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// painted is what ink writes around a text.
var painted = regexp.MustCompile("\x1b\\[[0-9]{1,2}m")

func visible(s string, ink ink) string {
	if !strings.ContainsFunc(s, hidden) {
		return s
	}
	if !bool(ink) {
		return escaped(s)
	}
	var b strings.Builder
	at := 0
	for _, paint := range painted.FindAllStringIndex(s, -1) {
		b.WriteString(escaped(s[at:paint[0]]) + s[paint[0]:paint[1]])
		at = paint[1]
	}
	return b.String() + escaped(s[at:])
}

// hidden are characters that a terminal acts on, or that turn a line's direction.
func hidden(r rune) bool {
	return r != '\n' && r != '\t' && r != utf8.RuneError && !unicode.IsGraphic(r)
}

func escaped(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case !hidden(r):
			b.WriteRune(r)
		case r < 0x80:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// oneLine is for a cell: a line end in it would begin what looks like another row.
func oneLine(s string) string {
	return strings.NewReplacer("\r\n", " ", "\n", " ", "\t", " ").Replace(s)
}

// maxWord is of a word that is told whole, in bytes; the longest that people need,
// such as an image by its digest or a URL, is shorter.
const maxWord = 300

var longWord = regexp.MustCompile(fmt.Sprintf(`[^\s]{%d,}`, maxWord+1))

// clipped tells of a name of thousands of characters how it begins, and how long it
// is.
func clipped(s string) string {
	return longWord.ReplaceAllStringFunc(s, func(word string) string {
		return strings.ToValidUTF8(word[:60], "") + fmt.Sprintf("…(%d characters)", utf8.RuneCountInString(word))
	})
}
