// Package docs reads what documents and help texts promise, so that tests can
// hold the programs to it: the code blocks of Markdown, the command lines in
// them, and whether a command line fits a program's commands and flags. It runs
// nothing.
package docs

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// Block is a piece of code in a document.
type Block struct {
	// Language is as the fence says: yaml, sh, console, or "".
	Language string
	Text     string
	// Line is where it begins, counted from 1.
	Line int
}

// Blocks are the fenced and the indented code blocks of a Markdown text.
func Blocks(markdown string) []Block {
	var blocks []Block
	var fence *Block
	indented := false
	for i, line := range strings.Split(markdown, "\n") {
		language, isFence := strings.CutPrefix(line, "```")
		switch {
		case isFence && fence != nil:
			blocks, fence = append(blocks, *fence), nil
		case isFence:
			fence, indented = &Block{Language: strings.TrimSpace(language), Line: i + 1}, false
		case fence != nil:
			fence.Text += line + "\n"
		case strings.HasPrefix(line, "    ") && indented:
			blocks[len(blocks)-1].Text += line[4:] + "\n"
		case strings.HasPrefix(line, "    "):
			blocks, indented = append(blocks, Block{Text: line[4:] + "\n", Line: i + 1}), true
		default:
			indented = false
		}
	}
	return blocks
}

// Spans are the texts between single backquotes, outside fenced blocks.
func Spans(markdown string) []string {
	var spans []string
	inFence := false
	for line := range strings.Lines(markdown) {
		if strings.HasPrefix(line, "```") {
			inFence = !inFence
		}
		if inFence || strings.HasPrefix(line, "```") {
			continue
		}
		parts := strings.Split(line, "`")
		for i := 1; i < len(parts)-1; i += 2 {
			spans = append(spans, parts[i])
		}
	}
	return spans
}

// Commands are the command lines of a block, each split into words. In a
// console block those are what follows a prompt; the rest is output.
func Commands(b Block) [][]string {
	var commands [][]string
	for line := range strings.Lines(b.Text) {
		typed, prompted := strings.CutPrefix(strings.TrimSpace(line), "$ ")
		if b.Language == "console" && !prompted {
			continue
		}
		commands = append(commands, Split(typed)...)
	}
	return commands
}

// Split takes a line apart as a shell does, as far as documents go: quotes,
// comments, pipes, lists and redirections, which are left out.
func Split(line string) [][]string {
	var commands [][]string
	var words []string
	word, begun, quote, redirected := strings.Builder{}, false, rune(0), false
	endWord := func() {
		if begun && !redirected {
			words = append(words, word.String())
		}
		if begun {
			redirected = false
		}
		word.Reset()
		begun = false
	}
	endCommand := func() {
		endWord()
		if len(words) > 0 {
			commands = append(commands, words)
		}
		words, redirected = nil, false
	}
	for _, r := range line {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			quote, begun = r, true
		case r == ' ' || r == '\t' || r == '\n':
			endWord()
		case r == '#' && !begun:
			endCommand()
			return commands
		case r == '|' || r == ';' || r == '&':
			endCommand()
		case r == '>' || r == '<':
			endWord()
			redirected = true
		default:
			word.WriteRune(r)
			begun = true
		}
	}
	endCommand()
	return commands
}

// Check says what is wrong with a command line, or nil. The program's name is
// not in it.
func Check(root *cobra.Command, args []string) error {
	cmd, rest, err := root.Find(args)
	if err != nil {
		return err
	}
	if cmd == root && len(rest) > 0 && !strings.HasPrefix(rest[0], "-") {
		return fmt.Errorf("%s has no verb %q", root.Name(), rest[0])
	}
	cmd.InitDefaultHelpFlag()
	if err := cmd.ParseFlags(rest); err != nil {
		return fmt.Errorf("%s: %w", cmd.CommandPath(), err)
	}
	if asked, _ := cmd.Flags().GetBool("help"); asked {
		return nil
	}
	return cmd.ValidateArgs(cmd.Flags().Args())
}
