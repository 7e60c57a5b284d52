package plan

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// path leads to a value: a string is a key, an int a place in a list, an element
// the member of a list that has that name.
type path []any

type element string

func (p path) and(step any) path { return append(slices.Clip(p), step) }

// String is the syntax of field rules: "spec.containers[name=web].image",
// "metadata.annotations[example.com/x]".
func (p path) String() string {
	var b strings.Builder
	for _, step := range p {
		switch s := step.(type) {
		case element:
			fmt.Fprintf(&b, "[name=%s]", string(s))
		case int:
			fmt.Fprintf(&b, "[%d]", s)
		case string:
			switch {
			case strings.ContainsAny(s, "./[]"):
				fmt.Fprintf(&b, "[%s]", s)
			case b.Len() == 0:
				b.WriteString(s)
			default:
				b.WriteString("." + s)
			}
		}
	}
	return b.String()
}

// differ lists the smallest changes that make old into next.
func differ(old, next any, at path) []Field {
	switch o := old.(type) {
	case map[string]any:
		if n, ok := next.(map[string]any); ok {
			return differMaps(o, n, at)
		}
	case []any:
		if n, ok := next.([]any); ok {
			return differLists(o, n, at)
		}
	}
	if reflect.DeepEqual(old, next) {
		return nil
	}
	return []Field{changed(at, old, next)}
}

func changed(at path, old, next any) Field {
	return Field{Path: at.String(), at: at, Old: old, New: next, was: true, is: true}
}

func removed(at path, old any) Field { return Field{Path: at.String(), at: at, Old: old, was: true} }

func added(at path, next any) Field { return Field{Path: at.String(), at: at, New: next, is: true} }

func differMaps(old, next map[string]any, at path) []Field {
	keys := slices.Sorted(maps.Keys(old))
	for _, k := range slices.Sorted(maps.Keys(next)) {
		if _, both := old[k]; !both {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	var fields []Field
	for _, k := range keys {
		o, was := old[k]
		n, is := next[k]
		switch {
		case !was:
			fields = append(fields, added(at.and(k), n))
		case !is:
			fields = append(fields, removed(at.and(k), o))
		default:
			fields = append(fields, differ(o, n, at.and(k))...)
		}
	}
	return fields
}

// differLists tells elements by their names where all have one, as the API
// server does with containers, ports and variables; else by their places. A list
// of another order is another list.
func differLists(old, next []any, at path) []Field {
	oldNames, named := namesOf(old)
	nextNames, alsoNamed := namesOf(next)
	switch {
	case named && alsoNamed && len(old) > 0 && len(next) > 0:
		if !slices.Equal(merged(oldNames, nextNames), nextNames) {
			return []Field{changed(at, old, next)}
		}
		return differElements(byName(old, oldNames), byName(next, nextNames), merged(oldNames, nextNames), at)
	case len(old) == len(next):
		var fields []Field
		for i := range old {
			fields = append(fields, differ(old[i], next[i], at.and(i))...)
		}
		return fields
	}
	return []Field{changed(at, old, next)}
}

// differElements has removed elements first, then the others in order.
func differElements(old, next map[string]any, order []string, at path) []Field {
	var fields []Field
	for _, name := range slices.Sorted(maps.Keys(old)) {
		if _, stays := next[name]; !stays {
			fields = append(fields, removed(at.and(element(name)), old[name]))
		}
	}
	for _, name := range order {
		if o, was := old[name]; was {
			fields = append(fields, differ(o, next[name], at.and(element(name)))...)
		} else {
			fields = append(fields, added(at.and(element(name)), next[name]))
		}
	}
	return fields
}

// merged is the order that comes of taking out what goes and adding at the end
// what is new.
func merged(old, next []string) []string {
	order := slices.DeleteFunc(slices.Clone(old), func(name string) bool { return !slices.Contains(next, name) })
	for _, name := range next {
		if !slices.Contains(old, name) {
			order = append(order, name)
		}
	}
	return order
}

// namesOf reports whether every element has a name of its own.
func namesOf(list []any) ([]string, bool) {
	seen := map[string]bool{}
	names := make([]string, 0, len(list))
	for _, v := range list {
		m, _ := v.(map[string]any)
		name, ok := m["name"].(string)
		if !ok || seen[name] {
			return nil, false
		}
		seen[name] = true
		names = append(names, name)
	}
	return names, true
}

func byName(list []any, names []string) map[string]any {
	m := make(map[string]any, len(list))
	for i, name := range names {
		m[name] = list[i]
	}
	return m
}

// hidden stands for a secret value, as in diffs.
const hidden = "(hidden)"

// shown is a field as it may be told: without secret values and not too long.
func (f Field) shown(secret bool) Field {
	if secret && len(f.at) > 0 && f.at[0] == "data" {
		f.Old, f.New = pick(f.was, hidden), pick(f.is, hidden)
		return f
	}
	f.Old, f.New = cut(f.Old), cut(f.New)
	return f
}

func pick(there bool, v any) any {
	if there {
		return v
	}
	return nil
}

// cut is the value itself, or the beginning of its JSON when that is long.
func cut(v any) any {
	data, err := json.Marshal(v)
	if err != nil || len(data) <= MaxValue {
		return v
	}
	if s, ok := v.(string); ok {
		data = []byte(s)
	}
	return strings.ToValidUTF8(string(data[:min(len(data), MaxValue)]), "") + "…"
}
