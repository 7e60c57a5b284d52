package drift

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/value"
)

// Path is a parsed field path of a rule, such as
// "spec.template.spec.containers[name=web].resources".
type Path []segment

// segment is one step. A name selects a field of a map; a bracket selects a
// key of a map, or an element of a list by index, by one of its fields, or all.
type segment struct {
	text    string
	bracket bool
	// keys are set for "[key=value]" and "[key=value,key=value]".
	keys []keyValue
}

type keyValue struct{ key, value string }

// parseKeys is nil when the text is not key=value pairs.
func parseKeys(text string) []keyValue {
	var keys []keyValue
	for part := range strings.SplitSeq(text, ",") {
		k, v, ok := strings.Cut(part, "=")
		if !ok {
			return nil
		}
		keys = append(keys, keyValue{k, v})
	}
	return keys
}

// MaxPathDepth bounds a rule's path; no Kubernetes type is nested deeper.
const MaxPathDepth = 64

// ParsePath reads the syntax that v1alpha1.FieldRule documents.
func ParsePath(s string) (Path, error) {
	var path Path
	rest := strings.TrimPrefix(s, ".")
	if rest == "" {
		return nil, fmt.Errorf("path %q: is empty; write one such as \"spec.replicas\"", s)
	}
	for rest != "" {
		seg, tail, err := parseSegment(rest, len(path) > 0)
		if err != nil {
			return nil, fmt.Errorf("path %q: %w", s, err)
		}
		if path = append(path, seg); len(path) > MaxPathDepth {
			return nil, fmt.Errorf("path %q: has more than %d steps", s, MaxPathDepth)
		}
		rest = tail
	}
	return path, nil
}

// parseSegment reads one step and the dot that follows it.
func parseSegment(s string, mayBracket bool) (segment, string, error) {
	if s[0] == '[' {
		if !mayBracket {
			return segment{}, "", errors.New("starts with a bracket; begin with a field's name")
		}
		inside, rest, closed := strings.Cut(s[1:], "]")
		if !closed {
			return segment{}, "", errors.New("a bracket is not closed")
		}
		if inside == "" {
			return segment{}, "", errors.New("a bracket is empty; write an index, name=value, a key or *")
		}
		seg := segment{text: inside, bracket: true, keys: parseKeys(inside)}
		rest, err := afterSegment(rest)
		return seg, rest, err
	}
	end := strings.IndexAny(s, ".[")
	if end < 0 {
		end = len(s)
	}
	if end == 0 {
		return segment{}, "", errors.New("a step is empty; two dots stand side by side")
	}
	rest, err := afterSegment(s[end:])
	return segment{text: s[:end]}, rest, err
}

func afterSegment(rest string) (string, error) {
	switch {
	case rest == "" || rest[0] == '[':
		return rest, nil
	case rest == ".":
		return "", errors.New("ends with a dot")
	case rest[0] == '.':
		return rest[1:], nil
	}
	return "", fmt.Errorf("after a bracket comes a dot, another bracket or the end, not %q", rest[:1])
}

// String is the syntax that ParsePath reads.
func (p Path) String() string {
	var b strings.Builder
	for i, s := range p {
		switch {
		case s.bracket:
			b.WriteString("[" + s.text + "]")
		case i > 0:
			b.WriteString("." + s.text)
		default:
			b.WriteString(s.text)
		}
	}
	return b.String()
}

// any tells "[*]", which selects every element or key.
func (s segment) any() bool { return s.bracket && s.text == "*" }

// matches tells whether the segment selects what e does.
func (s segment) matches(e fieldpath.PathElement) bool {
	switch {
	case s.any():
		return true
	case e.FieldName != nil:
		return *e.FieldName == s.text
	case !s.bracket:
		return false
	case e.Key != nil:
		return s.matchesKey(*e.Key)
	case e.Value != nil:
		return scalar((*e.Value).Unstructured()) == s.text
	case e.Index != nil:
		return strconv.Itoa(*e.Index) == s.text
	}
	return false
}

func (s segment) matchesKey(key value.FieldList) bool {
	fields := map[string]string{}
	for _, f := range key {
		fields[f.Name] = scalar(f.Value.Unstructured())
	}
	for _, k := range s.keys {
		if v, ok := fields[k.key]; !ok || v != k.value {
			return false
		}
	}
	return len(s.keys) > 0
}

// covers tells whether p is leaf or an ancestor of it.
func (p Path) covers(leaf fieldpath.Path) bool {
	if len(p) > len(leaf) {
		return false
	}
	for i, s := range p {
		if !s.matches(leaf[i]) {
			return false
		}
	}
	return true
}

// Paths is what a set of rules selects in one object.
type Paths []Path

// Covers tells whether one of the paths is leaf or an ancestor of it.
func (ps Paths) Covers(leaf fieldpath.Path) bool {
	for _, p := range ps {
		if p.covers(leaf) {
			return true
		}
	}
	return false
}

// touch tells whether one of the paths is p, lies above it or below it.
func (ps Paths) touch(p fieldpath.Path) bool {
	return slices.ContainsFunc(ps, func(one Path) bool { return one[:min(len(one), len(p))].covers(p) })
}

// scalar is how people write a JSON scalar in a bracket.
func scalar(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case nil:
		return "null"
	}
	return fmt.Sprint(v)
}

// Dotted writes a managed-fields path in the syntax of rules, for people.
func Dotted(p fieldpath.Path) string {
	var b strings.Builder
	for _, e := range p {
		switch {
		case e.FieldName != nil && strings.ContainsAny(*e.FieldName, ".[/"):
			b.WriteString("[" + *e.FieldName + "]")
		case e.FieldName != nil:
			if b.Len() > 0 {
				b.WriteByte('.')
			}
			b.WriteString(*e.FieldName)
		case e.Key != nil:
			b.WriteString("[" + keyText(*e.Key) + "]")
		case e.Value != nil:
			b.WriteString("[" + scalar((*e.Value).Unstructured()) + "]")
		case e.Index != nil:
			b.WriteString("[" + strconv.Itoa(*e.Index) + "]")
		}
	}
	return b.String()
}

// keyText prefers the name, which alone tells most list elements apart.
func keyText(key value.FieldList) string {
	parts := make([]string, 0, len(key))
	for _, f := range key {
		text := f.Name + "=" + scalar(f.Value.Unstructured())
		if f.Name == "name" {
			return text
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, ",")
}
