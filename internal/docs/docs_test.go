package docs

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
)

func TestACommandLineIsTakenApartAsAShellDoes(t *testing.T) {
	for line, want := range map[string][][]string{
		`atoll status`: {{"atoll", "status"}},
		`atoll deploy shop --to 'stage in (a, b)' # why`: {{"atoll", "deploy", "shop", "--to", "stage in (a, b)"}},
		`atoll join a -o yaml | kubectl apply -f -`:      {{"atoll", "join", "a", "-o", "yaml"}, {"kubectl", "apply", "-f", "-"}},
		`atoll kubeconfig > a.yaml && atoll version`:     {{"atoll", "kubeconfig"}, {"atoll", "version"}},
		`# only words`:             nil,
		`echo "a#b" ""`:            {{"echo", "a#b", ""}},
		`atoll get apps -o name>x`: {{"atoll", "get", "apps", "-o", "name"}},
	} {
		if diff := cmp.Diff(want, Split(line)); diff != "" {
			t.Errorf("%s:\n%s", line, diff)
		}
	}
}

func TestBlocksAndSpansAreFound(t *testing.T) {
	text := "one `atoll status` two\n```yaml\na: 1\n```\n\n    atoll get apps\n    atoll version\n\n```console\n$ atoll status\nAll well.\n```\n"
	want := []Block{
		{Language: "yaml", Text: "a: 1\n", Line: 2},
		{Text: "atoll get apps\natoll version\n", Line: 6},
		{Language: "console", Text: "$ atoll status\nAll well.\n", Line: 9},
	}
	blocks := Blocks(text)
	if diff := cmp.Diff(want, blocks); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"atoll status"}, Spans(text)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([][]string{{"atoll", "status"}}, Commands(blocks[2])); diff != "" {
		t.Error(diff)
	}
}

func TestMistakesInACommandLineAreFound(t *testing.T) {
	root := func() *cobra.Command {
		root := &cobra.Command{Use: "atoll", RunE: func(*cobra.Command, []string) error { return nil }}
		verb := &cobra.Command{Use: "wait", Args: cobra.ExactArgs(1), Run: func(*cobra.Command, []string) {}}
		verb.Flags().Duration("timeout", 0, "")
		root.AddCommand(verb)
		return root
	}
	for _, good := range [][]string{{"wait", "x", "--timeout", "5m"}, {"--help"}, {"wait", "--help"}} {
		if err := Check(root(), good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range [][]string{{"wiat", "x"}, {"wait"}, {"wait", "x", "--timeuot", "5m"}, {"wait", "x", "--timeout", "long"}} {
		if Check(root(), bad) == nil {
			t.Errorf("%q passes", bad)
		}
	}
}
