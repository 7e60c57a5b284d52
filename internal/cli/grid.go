package cli

import (
	"io"
	"strings"
	"unicode/utf8"
)

// cell is one field of a grid; its paint never counts for the width.
type cell struct {
	text  string
	paint paint
}

func text(s string) cell { return cell{text: s} }

// state is a cell in the colour that its value has everywhere.
func state(s string) cell { return cell{text: s, paint: tone(s)} }

// grid is columns as wide as their widest cell, three spaces apart.
type grid struct {
	// head may be nil.
	head []string
	rows [][]cell
	// indent stands before every line.
	indent string
	// width bounds the lines by wrapping the last column; 0 leaves them.
	width int
}

func (g *grid) add(cells ...cell) {
	for i := range cells {
		cells[i].text = visible(oneLine(cells[i].text), false)
	}
	g.rows = append(g.rows, cells)
}

const gutter = 3

func (g *grid) write(w io.Writer, ink ink) error {
	widths := g.widths()
	var b strings.Builder
	if g.head != nil {
		head := make([]cell, len(g.head))
		for i, h := range g.head {
			head[i] = cell{text: h, paint: dim}
		}
		g.line(&b, head, widths, ink)
	}
	for _, row := range g.rows {
		g.line(&b, row, widths, ink)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (g *grid) widths() []int {
	widths := make([]int, len(g.head))
	for i, h := range g.head {
		widths[i] = utf8.RuneCountInString(h)
	}
	for _, row := range g.rows {
		for i, c := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(c.text))
		}
	}
	return widths
}

func (g *grid) line(b *strings.Builder, row []cell, widths []int, ink ink) {
	b.WriteString(g.indent)
	at := utf8.RuneCountInString(g.indent)
	for i, c := range row {
		if i == len(row)-1 {
			g.last(b, c, at, ink)
			break
		}
		b.WriteString(ink.paint(c.paint, c.text))
		pad := widths[i] - utf8.RuneCountInString(c.text) + gutter
		if emptyFrom(row[i+1:]) {
			break // no trailing blanks
		}
		b.WriteString(strings.Repeat(" ", pad))
		at += widths[i] + gutter
	}
	b.WriteByte('\n')
}

func emptyFrom(cells []cell) bool {
	for _, c := range cells {
		if c.text != "" {
			return false
		}
	}
	return true
}

// minWrap is the narrowest column worth wrapping into.
const minWrap = 24

func (g *grid) last(b *strings.Builder, c cell, at int, ink ink) {
	if g.width == 0 || g.width-at < minWrap {
		b.WriteString(ink.paint(c.paint, c.text))
		return
	}
	for i, part := range wrap(c.text, g.width-at) {
		if i > 0 {
			b.WriteString("\n" + strings.Repeat(" ", at))
		}
		b.WriteString(ink.paint(c.paint, part))
	}
}

// wrap breaks s at blanks into lines of at most width runes; a longer word
// stays whole, so that commands and digests can be copied.
func wrap(s string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(s) {
		switch {
		case line == "":
			line = word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) <= width:
			line += " " + word
		default:
			lines = append(lines, line)
			line = word
		}
	}
	return append(lines, line)
}
