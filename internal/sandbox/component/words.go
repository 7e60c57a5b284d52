package component

import (
	"errors"
	"strings"
)

var errNotSimple = errors.New("only one simple command is understood here: no expansion, pipe, redirection or second command")

// words splits what `sh -c` was given as a shell would, as long as it is one
// command of plain and quoted words. Anything that would mean more to a shell
// is an error: to take it literally would be a wrong answer.
func words(line string) ([]string, error) {
	var all []string
	var word strings.Builder
	begun, quote := false, rune(0)
	for _, c := range line {
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote == '\'':
			word.WriteRune(c)
		case strings.ContainsRune("$`\\", c), quote == 0 && strings.ContainsRune("|&;<>(){}*?[]~#!\n", c):
			return nil, errNotSimple
		case quote == 0 && (c == '\'' || c == '"'):
			quote, begun = c, true
		case quote == 0 && (c == ' ' || c == '\t'):
			if begun {
				all = append(all, word.String())
				word.Reset()
				begun = false
			}
		default:
			word.WriteRune(c)
			begun = true
		}
	}
	if quote != 0 {
		return nil, errors.New("a quote is not closed")
	}
	if begun {
		all = append(all, word.String())
	}
	if len(all) > 0 && strings.Contains(all[0], "=") { // an assignment
		return nil, errNotSimple
	}
	return all, nil
}
