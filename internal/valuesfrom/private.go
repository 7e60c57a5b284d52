package valuesfrom

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// minLength is of strings that are told from other words, in bytes.
const minLength = 6

// minLine is of a line of a longer text, such as a key, which templates indent.
const minLine = 16

// maxWords bounds what is looked for, since every object is searched for all of it.
const maxWords = 2000

// Hidden stands for what a Secret said.
const Hidden = "(hidden)"

// finder collects strings that are to be kept private.
type finder struct{ words map[string]bool }

func (f *finder) add(v any) {
	switch v := v.(type) {
	case map[string]any:
		for _, e := range v {
			f.add(e)
		}
	case []any:
		for _, e := range v {
			f.add(e)
		}
	case string:
		f.word(strings.TrimSpace(v))
	}
}

func (f *finder) word(s string) {
	if len(s) < minLength {
		return
	}
	if f.words == nil {
		f.words = map[string]bool{}
	}
	f.words[s] = true
	if !strings.Contains(s, "\n") {
		return
	}
	for line := range strings.SplitSeq(s, "\n") {
		// Lines such as -----BEGIN CERTIFICATE----- are everybody's.
		if line = strings.TrimSpace(line); len(line) >= minLine && !strings.HasPrefix(line, "-----") {
			f.words[line] = true
		}
	}
}

// private finds words in whatever form templates, encoders and errors give them.
type private struct{ forms *strings.Replacer }

func (f *finder) private() *private {
	if len(f.words) == 0 {
		return nil
	}
	forms := map[string]bool{}
	for word := range f.words {
		for _, form := range formsOf(word) {
			forms[form] = true
		}
	}
	var pairs []string
	// The longer first: of two that begin alike the whole of the longer one goes.
	for _, form := range slices.SortedFunc(maps.Keys(forms), func(a, b string) int {
		return cmp.Or(len(b)-len(a), strings.Compare(a, b))
	}) {
		pairs = append(pairs, form, Hidden)
	}
	return &private{strings.NewReplacer(pairs...)}
}

func formsOf(word string) []string {
	forms := []string{word, trimmed(strconv.Quote(word)), url.QueryEscape(word), url.PathEscape(word),
		base64.StdEncoding.EncodeToString([]byte(word)), base64.RawURLEncoding.EncodeToString([]byte(word)),
		base64.StdEncoding.EncodeToString([]byte(word + "\n"))}
	if asJSON, err := json.Marshal(word); err == nil {
		forms = append(forms, trimmed(string(asJSON)))
	}
	if len(word) > 10 {
		forms = append(forms, word[:7]+"...") // as the YAML decoder quotes it
	}
	return forms
}

func trimmed(quoted string) string { return quoted[1 : len(quoted)-1] }

func (p *private) mask(text string) string { return p.forms.Replace(text) }

func (p *private) shown(text string) bool {
	if len(text) < minLength {
		return false
	}
	if p.mask(text) != text {
		return true
	}
	decoded, err := base64.StdEncoding.DecodeString(text)
	return err == nil && p.mask(string(decoded)) != string(decoded)
}

// in is the first field that shows a word.
func (p *private) in(path []string, v any) (string, bool) {
	switch v := v.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			at := append(path, key)
			if p.shown(key) {
				return field(at), true
			}
			if found, ok := p.in(at, v[key]); ok {
				return found, true
			}
		}
	case []any:
		for i, e := range v {
			if found, ok := p.in(append(path, fmt.Sprintf("[%d]", i)), e); ok {
				return found, true
			}
		}
	case string:
		return field(path), p.shown(v)
	case json.Number:
		// A template that does not quote a word of digits; part of a number is none.
		return field(path), p.mask(v.String()) == Hidden
	}
	return "", false
}

func field(path []string) string { return strings.ReplaceAll(strings.Join(path, "."), ".[", "[") }
