package demo

import (
	"io"
	"strings"
	"testing"

	"atoll.dev/atoll/internal/cli"
	"atoll.dev/atoll/internal/docs"
)

func TestEveryCommandToTryFitsTheProgram(t *testing.T) {
	d, err := New(Options{Dir: t.TempDir(), Bin: "bin", Shop: "shop", Out: io.Discard, Words: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for line := range strings.Lines(d.tries()) {
		if !strings.HasPrefix(line, "       ") {
			continue
		}
		for _, words := range docs.Split(line) {
			if words[0] != "atoll" {
				continue
			}
			checked++
			root := cli.New(cli.Streams{In: strings.NewReader(""), Out: io.Discard, Err: io.Discard})
			if err := docs.Check(root, words[1:]); err != nil {
				t.Errorf("%s: %v", strings.Join(words, " "), err)
			}
		}
	}
	if checked < 8 {
		t.Errorf("only %d commands to try", checked)
	}
}
