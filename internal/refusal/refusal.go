// Package refusal reads which fields an API server refused out of the one
// answer that names them in prose only: a server-side apply of an object that
// does not fit its schema, which comes as an internal error. What to do about
// it, and what of it may be shown, is left to the caller.
package refusal

import (
	"regexp"
	"strings"
)

// Field is a refused field.
type Field struct {
	Path string // "spec.replicas"
	Why  string // may quote the field's value
}

func (f Field) String() string { return f.Path + ": " + f.Why }

// opening begins that answer; the object follows in brackets.
const opening = "failed to create typed patch object ("

// goValue is how the answer quotes a value of the wrong type.
var goValue = regexp.MustCompile(`got &value\.valueUnstructured\{Value:(.*)\}`)

// Fields are the fields that message says were refused; none if it says
// something else.
func Fields(message string) []Field {
	_, rest, ok := strings.Cut(message, opening)
	if !ok {
		return nil
	}
	_, rest, ok = strings.Cut(rest, "): ")
	if !ok {
		return nil
	}
	var fields []Field
	for _, line := range strings.Split(rest, "\n") {
		path, why, ok := strings.Cut(strings.TrimSpace(line), ": ")
		if !ok || !strings.HasPrefix(path, ".") {
			continue
		}
		why = strings.Replace(why, "field not declared in schema", "there is no such field", 1)
		fields = append(fields, Field{Path: path[1:], Why: goValue.ReplaceAllString(why, "got $1")})
	}
	return fields
}
