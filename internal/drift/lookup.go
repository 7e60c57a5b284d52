package drift

import (
	"strconv"

	"k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/value"
)

// Lookup finds the value at a managed-fields path of a decoded object.
func Lookup(obj any, path fieldpath.Path) (any, bool) {
	for _, e := range path {
		next, ok := step(obj, e)
		if !ok {
			return nil, false
		}
		obj = next
	}
	return obj, true
}

func step(obj any, e fieldpath.PathElement) (any, bool) {
	if e.FieldName != nil {
		m, ok := obj.(map[string]any)
		if !ok {
			return nil, false
		}
		v, ok := m[*e.FieldName]
		return v, ok
	}
	list, ok := obj.([]any)
	if !ok {
		return nil, false
	}
	if i := position(list, e); i >= 0 {
		return list[i], true
	}
	return nil, false
}

// position is the index of the element that e selects, or -1.
func position(list []any, e fieldpath.PathElement) int {
	switch {
	case e.Index != nil && *e.Index >= 0 && *e.Index < len(list):
		return *e.Index
	case e.Key != nil:
		for i, item := range list {
			if hasKey(item, *e.Key) {
				return i
			}
		}
	case e.Value != nil:
		for i, item := range list {
			if equality.Semantic.DeepEqual(item, (*e.Value).Unstructured()) {
				return i
			}
		}
	}
	return -1
}

func hasKey(item any, key value.FieldList) bool {
	m, ok := item.(map[string]any)
	if !ok {
		return false
	}
	for _, f := range key {
		if v, ok := m[f.Name]; !ok || scalar(v) != scalar(f.Value.Unstructured()) {
			// A key field that is absent had its default filled in by the
			// API server (ports: protocol); absent therefore still matches.
			if ok || !defaultedKey[f.Name] {
				return false
			}
		}
	}
	return true
}

// defaultedKey are list keys that manifests leave out and servers default.
var defaultedKey = map[string]bool{"protocol": true}

// Without removes what paths select from a manifest and returns the removed
// paths as text. The manifest is changed in place.
func Without(manifest map[string]any, paths Paths) []string {
	var removed []string
	for _, p := range paths {
		if _, hit := remove(manifest, p); hit {
			removed = append(removed, p.String())
		}
	}
	return removed
}

// remove returns v without what p selects, and whether anything was there.
func remove(v any, p Path) (any, bool) {
	s, last := p[0], len(p) == 1
	hit := false
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			if !s.any() && k != s.text {
				continue
			}
			if last {
				delete(v, k)
				hit = true
				continue
			}
			child, ok := remove(v[k], p[1:])
			v[k], hit = child, hit || ok
		}
	case []any:
		kept := make([]any, 0, len(v))
		for i, item := range v {
			if !s.selects(item, i) {
				kept = append(kept, item)
				continue
			}
			if last {
				hit = true
				continue
			}
			child, ok := remove(item, p[1:])
			kept, hit = append(kept, child), hit || ok
		}
		return kept, hit
	}
	return v, hit
}

// selects tells whether the bracket selects the element at index i.
func (s segment) selects(item any, i int) bool {
	if s.any() {
		return true
	}
	if !s.bracket {
		return false
	}
	if m, ok := item.(map[string]any); ok && len(s.keys) > 0 {
		for _, k := range s.keys {
			if v, ok := m[k.key]; !(ok && scalar(v) == k.value) && (ok || !defaultedKey[k.key]) {
				return false
			}
		}
		return true
	}
	return strconv.Itoa(i) == s.text || scalar(item) == s.text
}

// Only keeps of obj just what set names, with the keys that its list elements
// need: the object to apply as another manager that takes over these fields.
func Only(obj map[string]any, set *fieldpath.Set) map[string]any {
	kept, _ := only(obj, set).(map[string]any)
	return kept
}

func only(v any, set *fieldpath.Set) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, child := range v {
			e := fieldpath.FieldNameElement(k)
			if below := set.WithPrefix(e); !below.Empty() {
				out[k] = only(child, below)
			} else if set.Members.Has(e) {
				out[k] = child
			}
		}
		return out
	case []any:
		return onlyElements(v, set)
	}
	return v
}

func onlyElements(list []any, set *fieldpath.Set) []any {
	var out []any
	add := func(e fieldpath.PathElement, below *fieldpath.Set) {
		i := position(list, e)
		if i < 0 {
			return
		}
		if below == nil {
			out = append(out, list[i])
			return
		}
		item, isMap := only(list[i], below).(map[string]any)
		if isMap && e.Key != nil {
			for _, f := range *e.Key {
				item[f.Name] = f.Value.Unstructured()
			}
		}
		out = append(out, item)
	}
	set.Children.Iterate(func(e fieldpath.PathElement) { add(e, set.WithPrefix(e)) })
	set.Members.Iterate(func(e fieldpath.PathElement) {
		if set.WithPrefix(e).Empty() {
			add(e, nil)
		}
	})
	return out
}
