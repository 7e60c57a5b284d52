package importer

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
)

// fields reads a part of a foreign object. What nobody took is lost, and done
// says so: a field that this package has never heard of is named too.
type fields struct {
	r      *Result
	object string
	at     string
	m      map[string]any
	taken  map[string]bool
}

func fieldsOf(r *Result, object, at string, m map[string]any) *fields {
	return &fields{r: r, object: object, at: at, m: m, taken: map[string]bool{}}
}

func (f *fields) path(key string) string {
	if f.at == "" {
		return key
	}
	return f.at + "." + key
}

// take is the value of a key; nil when it is absent or says nothing.
func (f *fields) take(key string) any {
	f.taken[key] = true
	v := f.m[key]
	if empty(v) {
		return nil
	}
	return v
}

func empty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case bool:
		return !v
	case map[string]any:
		return len(v) == 0
	case []any:
		return len(v) == 0
	}
	return false
}

// text accepts numbers too, which YAML makes of unquoted versions.
func (f *fields) text(key string) string {
	switch v := f.take(key).(type) {
	case nil:
		return ""
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case int64:
		return strconv.FormatInt(v, 10)
	default:
		f.lose(key, "is no text")
		return ""
	}
}

func (f *fields) flag(key string) bool {
	b, _ := f.take(key).(bool)
	return b
}

func (f *fields) has(key string) bool {
	_, ok := f.m[key]
	return ok
}

func (f *fields) sub(key string) *fields {
	m, _ := f.take(key).(map[string]any)
	return fieldsOf(f.r, f.object, f.path(key), m)
}

func (f *fields) list(key string) []any {
	l, _ := f.take(key).([]any)
	return l
}

// each reads a list of maps.
func (f *fields) each(key string) []*fields {
	var all []*fields
	for i, v := range f.list(key) {
		m, _ := v.(map[string]any)
		all = append(all, fieldsOf(f.r, f.object, fmt.Sprintf("%s[%d]", f.path(key), i), m))
	}
	return all
}

func (f *fields) texts(key string) []string {
	var all []string
	for _, v := range f.list(key) {
		if s, ok := v.(string); ok {
			all = append(all, s)
		}
	}
	return all
}

func (f *fields) pairs(key string) map[string]string {
	m, _ := f.take(key).(map[string]any)
	out := map[string]string{}
	for k, v := range m {
		if s, ok := v.(string); ok {
			out[k] = s
		}
	}
	return out
}

// lose names what has no counterpart, if it is there.
func (f *fields) lose(key, why string, args ...any) {
	f.taken[key] = true
	if !empty(f.m[key]) {
		f.r.lose(f.object, f.path(key), why, args...)
	}
}

// note is lose for what changes nothing of what runs.
func (f *fields) note(key, why string, args ...any) {
	f.taken[key] = true
	if !empty(f.m[key]) {
		f.r.note(f.object, f.path(key), why, args...)
	}
}

// skip is for what means nothing here, or happens anyway.
func (f *fields) skip(keys ...string) {
	for _, key := range keys {
		f.taken[key] = true
	}
}

// done loses what is left.
func (f *fields) done() {
	for _, key := range slices.Sorted(maps.Keys(f.m)) {
		if !f.taken[key] {
			f.lose(key, "has no counterpart in Atoll")
		}
	}
}
