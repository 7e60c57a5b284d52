package cli

import (
	"io"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// TestEveryVerbExplainsItself keeps help at the quality of a manual page.
func TestEveryVerbExplainsItself(t *testing.T) {
	root := New(Streams{In: strings.NewReader(""), Out: io.Discard, Err: io.Discard})
	verbs := 0
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		if cmd.Name() == "completion" || cmd.Name() == "help" {
			return
		}
		verbs++
		if cmd.Short == "" || strings.HasSuffix(cmd.Short, ".") {
			t.Errorf("%s: the short help %q is no headline", cmd.CommandPath(), cmd.Short)
		}
		if !strings.Contains(cmd.Example, "  atoll ") {
			t.Errorf("%s has no example", cmd.CommandPath())
		}
		for _, text := range []string{cmd.Long, cmd.Example} {
			for _, line := range strings.Split(text, "\n") {
				if len([]rune(line)) > 100 {
					t.Errorf("%s: wider than 100 columns: %s", cmd.CommandPath(), line)
				}
			}
		}
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			// Backquotes in a usage name what the flag takes.
			if takes, _ := pflag.UnquoteUsage(f); strings.Contains(takes, " ") {
				t.Errorf("%s: --%s takes %q, which is no placeholder", cmd.CommandPath(), f.Name, takes)
			}
		})
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	walk(root)
	if verbs < 20 {
		t.Errorf("only %d verbs", verbs)
	}
}
