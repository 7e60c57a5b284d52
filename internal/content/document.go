package content

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	yamlv3 "go.yaml.in/yaml/v3"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// document is one YAML document of a file, or one stretch of JSON values.
type document struct {
	number, line int
	text         []byte
}

// split cuts a file at its document markers. It does so itself because the
// YAML decoder stops at "..." and would lose what follows without a word.
// Markers can only stand at the start of a line, where no scalar can hold them.
func split(data []byte) []document {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	var docs []document
	start, startLine, line := 0, 1, 0
	cut := func(end int) {
		if text := data[start:end]; holdsAnything(text) {
			docs = append(docs, document{number: len(docs) + 1, line: startLine, text: text})
		}
	}
	for at := 0; at < len(data); {
		end := len(data)
		if n := bytes.IndexByte(data[at:], '\n'); n >= 0 {
			end = at + n + 1
		}
		line++
		switch current := data[at:end]; {
		case isMarker(current, "---"):
			cut(at)
			start, startLine = at, line
		case isMarker(current, "..."):
			cut(at)
			start, startLine = end, line+1
		}
		at = end
	}
	cut(len(data))
	return docs
}

func isMarker(line []byte, marker string) bool {
	rest, ok := bytes.CutPrefix(line, []byte(marker))
	return ok && (len(rest) == 0 || rest[0] == ' ' || rest[0] == '\t' || rest[0] == '\r' || rest[0] == '\n')
}

// holdsAnything tells a document from blanks, comments and directives.
func holdsAnything(text []byte) bool {
	for line := range bytes.Lines(text) {
		if isMarker(line, "---") {
			line = line[3:]
		}
		line = bytes.TrimSpace(line)
		if len(line) > 0 && line[0] != '#' && line[0] != '%' {
			return true
		}
	}
	return false
}

// values decodes a document: one value of YAML, or several of JSON one after
// the other, as kubectl accepts them. expanded is the size after aliases.
func (d document) values(name string, budget int64) (values []any, expanded int64, err error) {
	if len(d.text) > MaxDocument {
		return nil, 0, fmt.Errorf("the document has %d bytes, more than %d: split it into several", len(d.text), MaxDocument)
	}
	if body := bytes.TrimSpace(d.text); len(body) > 0 && body[0] == '{' {
		values, err = jsonValues(body)
		if _, syntax := errors.AsType[*json.SyntaxError](err); !syntax || strings.HasSuffix(name, ".json") {
			return values, int64(len(d.text)), err
		}
	}
	expanded, err = expandedSize(d.text, budget)
	if err != nil {
		return nil, 0, d.lines(err)
	}
	asJSON, err := yaml.YAMLToJSONStrict(d.text)
	if err != nil {
		return nil, 0, d.lines(err)
	}
	v, err := strictJSON(asJSON)
	if err != nil {
		return nil, 0, err
	}
	return []any{v}, expanded, nil
}

func jsonValues(text []byte) ([]any, error) {
	var values []any
	for d := json.NewDecoder(bytes.NewReader(text)); ; {
		var raw json.RawMessage
		if err := d.Decode(&raw); errors.Is(err, io.EOF) {
			return values, nil
		} else if err != nil {
			if errors.Is(err, io.ErrUnexpectedEOF) {
				return nil, errors.New("the JSON ends in the middle of a value")
			}
			return nil, err
		}
		v, err := strictJSON(raw)
		if err != nil {
			return nil, err
		}
		values = append(values, v)
	}
}

// strictJSON keeps whole numbers whole and refuses a key given twice.
func strictJSON(data []byte) (any, error) {
	var v any
	strict, err := kjson.UnmarshalStrict(data, &v, kjson.DisallowDuplicateFields)
	return v, errors.Join(append(strict, err)...)
}

// lines makes the line numbers of a YAML error count from the start of the
// file instead of the document, drops the decoder's prefixes, and takes out
// what it quotes: that may be a secret value.
func (d document) lines(err error) error {
	text := err.Error()
	for _, prefix := range []string{"error converting YAML to JSON: ", "yaml: ", "unmarshal errors:\n  "} {
		text = strings.TrimPrefix(text, prefix)
	}
	for _, q := range quoting {
		text = q.pattern.ReplaceAllString(text, q.instead)
	}
	return errors.New(lineNumber.ReplaceAllStringFunc(text, func(s string) string {
		n, err := strconv.Atoi(s[len("line "):])
		if err != nil {
			return s
		}
		return "line " + strconv.Itoa(n+d.line-1)
	}))
}

var lineNumber = regexp.MustCompile(`\bline \d+`)

// quoting lists the errors of the YAML decoder that quote what was written. A
// password that begins with '*' reads as an alias, one with '!' as a tag.
var quoting = []struct {
	pattern *regexp.Regexp
	instead string
}{
	{regexp.MustCompile(`(?s)unknown anchor '.*' referenced`), "an alias (*name) has no anchor; quote the value if it is none"},
	{regexp.MustCompile(`(?s)anchor '.*' value contains itself`), "an anchor contains an alias to itself"},
	{regexp.MustCompile("(?s)cannot decode (\\S+) `.*` as a "), "cannot decode a $1 as a "},
	{regexp.MustCompile(`(?s)(invalid|unsupported) map key.*`), "a key is neither a string nor a number; quote it"},
}

// expandedSize is about how many bytes a document has once its aliases are
// replaced by what they stand for. Aliases of aliases grow exponentially, so
// it is computed on the tree without expanding anything.
func expandedSize(text []byte, budget int64) (int64, error) {
	if bytes.IndexByte(text, '&') < 0 || bytes.IndexByte(text, '*') < 0 {
		return int64(len(text)), nil
	}
	var root yamlv3.Node
	if err := yamlv3.Unmarshal(text, &root); err != nil {
		return 0, err
	}
	s := expansion{sizes: map[*yamlv3.Node]int64{}, limit: budget}
	size, err := s.of(&root)
	if err != nil {
		return 0, err
	}
	if size > budget {
		return 0, fmt.Errorf("the aliases (*name) expand to more than %d bytes in all: write the objects out, or fewer of them", MaxTotal)
	}
	return max(size, int64(len(text))), nil
}

type expansion struct {
	sizes map[*yamlv3.Node]int64
	limit int64
}

const inProgress = -1

func (s *expansion) of(n *yamlv3.Node) (int64, error) {
	size, seen := s.sizes[n]
	if size == inProgress {
		return 0, fmt.Errorf("line %d: the anchor contains an alias to itself", n.Line)
	}
	if seen {
		return size, nil
	}
	s.sizes[n] = inProgress
	size = int64(len(n.Value)) + 4 // quotes, colon, comma
	children := n.Content
	if n.Kind == yamlv3.AliasNode {
		children = []*yamlv3.Node{n.Alias}
	}
	for _, c := range children {
		part, err := s.of(c)
		if err != nil {
			return 0, err
		}
		if size += part; size > s.limit {
			size = s.limit + 1 // saturate: the sum of many such would overflow
		}
	}
	s.sizes[n] = size
	return size, nil
}
