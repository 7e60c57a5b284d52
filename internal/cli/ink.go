package cli

import (
	"io"
	"os"

	"atoll.dev/atoll/internal/report"
)

// paint is an ANSI colour; the zero value leaves text as it is.
type paint string

const (
	plain  paint = ""
	bold   paint = "1"
	dim    paint = "2"
	red    paint = "31"
	green  paint = "32"
	yellow paint = "33"
)

// ink paints when its output is a terminal and nobody objects.
type ink bool

// inkFor respects NO_COLOR (no-color.org) and dumb terminals.
func inkFor(w io.Writer) ink {
	_, tty := terminal(w)
	return ink(tty && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb")
}

func (i ink) paint(p paint, s string) string {
	if !bool(i) || p == plain || s == "" {
		return s
	}
	return "\x1b[" + string(p) + "m" + s + "\x1b[0m"
}

// tone is the colour of a state's name on any axis.
func tone(state string) paint {
	switch state {
	case string(report.InSync), string(report.HealthHealthy), "Connected", "True", "Ready", "OK", "Healthy (assumed)":
		return green
	case string(report.Failed), string(report.HealthDegraded), "Disconnected", "False", "Broken", "Warning":
		return red
	case string(report.Held), string(report.Drifted), string(report.Progressing), string(report.HealthUnknown), "Stale", "Pending":
		return yellow
	default:
		return plain
	}
}
