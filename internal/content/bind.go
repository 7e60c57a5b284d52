package content

import (
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// opening starts a late-bound reference: ${atoll:cluster.region},
// ${atoll:var.color}. One more "$" before it makes it literal.
const opening = "${atoll:"

var bindingName = regexp.MustCompile(`^(cluster|var)\.[A-Za-z0-9]([A-Za-z0-9._/-]{0,251}[A-Za-z0-9])?$`)

// IsBindingName tells whether a binding can be referred to: "cluster." or
// "var." and a name of letters, digits, '.', '_', '/' and '-'.
func IsBindingName(name string) bool { return bindingName.MatchString(name) }

// LateBound are the names that the bundle refers to, sorted, each once. The
// error lists references that could never be bound; it is an *Error.
//
// What an object is never differs by cluster: apiVersion, kind, name and
// namespace take no references.
func (b Bundle) LateBound() ([]string, error) {
	names := map[string]struct{}{}
	errs := &Error{}
	for _, o := range b.Objects {
		if !strings.Contains(string(o.Manifest), opening) {
			continue
		}
		_, problems := o.bind(func(name string) (string, error) {
			names[name] = struct{}{}
			return "", nil
		})
		for _, p := range problems {
			errs.add(p)
		}
	}
	return slices.Sorted(maps.Keys(names)), errs.orNil()
}

// Resolve makes the objects of one cluster: late-bound names replaced, secret
// values put in. Both hub and agent call it, and both must check the result
// against the project's policy. Nil bindings mean that the application does
// not bind late: everything is delivered as written. values is called once for
// each key of each Secret. The error, if any, is an *Error with every problem.
func (b Bundle) Resolve(bindings map[string]string, values func(ref string) ([]byte, error)) ([]*unstructured.Unstructured, error) {
	errs := &Error{}
	objects := make([]*unstructured.Unstructured, 0, len(b.Objects))
	for _, o := range b.Objects {
		object, problems := o.resolve(bindings, values)
		for _, p := range problems {
			errs.add(p)
		}
		objects = append(objects, object)
	}
	if err := errs.orNil(); err != nil {
		return nil, err
	}
	return objects, nil
}

// Resolve is Bundle.Resolve for one object.
func (o Object) Resolve(bindings map[string]string, values func(ref string) ([]byte, error)) (*unstructured.Unstructured, error) {
	object, problems := o.resolve(bindings, values)
	if len(problems) > 0 {
		return nil, &Error{Problems: problems}
	}
	return object, nil
}

func (o Object) resolve(bindings map[string]string, values func(ref string) ([]byte, error)) (*unstructured.Unstructured, []Problem) {
	manifest, problems := o.bound(bindings)
	if len(problems) > 0 || len(o.Values) == 0 {
		return &unstructured.Unstructured{Object: manifest}, problems
	}
	data := make(map[string]any, len(o.Values))
	for _, key := range slices.Sorted(maps.Keys(o.Values)) {
		value, err := values(o.Values[key])
		if err != nil {
			problems = append(problems, Problem{Object: o.Ref.String(), Message: fmt.Sprintf("data[%s]: %v", key, err)})
			continue
		}
		data[key] = base64.StdEncoding.EncodeToString(value)
	}
	manifest["data"] = data
	return &unstructured.Unstructured{Object: manifest}, problems
}

func (o Object) bound(bindings map[string]string) (map[string]any, []Problem) {
	if bindings != nil {
		return o.bind(func(name string) (string, error) {
			value, ok := bindings[name]
			if !ok {
				return "", fmt.Errorf("${atoll:%s} has no value here: declare it in spec.variables, or check the name", name)
			}
			return value, nil
		})
	}
	manifest, err := manifestOf(o.Manifest)
	if err != nil {
		return nil, []Problem{{Object: o.Ref.String(), Message: err.Error()}}
	}
	return manifest, nil
}

// bind replaces every reference by what lookup returns.
func (o Object) bind(lookup func(name string) (string, error)) (map[string]any, []Problem) {
	manifest, err := manifestOf(o.Manifest)
	if err != nil {
		return nil, []Problem{{Object: o.Ref.String(), Message: err.Error()}}
	}
	w := binder{lookup: lookup, room: MaxObject}
	for _, identifying := range []string{o.Ref.Group, o.Ref.Kind, o.Ref.Name, o.Ref.Namespace} {
		if strings.Contains(identifying, opening) {
			w.problems = append(w.problems, "apiVersion, kind, name and namespace cannot be bound late: what an object is never differs by cluster")
		}
	}
	if len(w.problems) == 0 {
		w.walk(nil, manifest)
	}
	problems := make([]Problem, 0, len(w.problems))
	for _, message := range w.problems {
		problems = append(problems, Problem{Object: o.Ref.String(), Message: message})
	}
	return manifest, problems
}

type binder struct {
	lookup   func(name string) (string, error)
	room     int // bytes that bound strings may still take
	problems []string
}

// walk replaces inside string values and never in keys.
func (w *binder) walk(path []string, v any) any {
	switch v := v.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			v[k] = w.walk(append(path, k), v[k])
		}
	case []any:
		for i := range v {
			v[i] = w.walk(append(path, fmt.Sprintf("[%d]", i)), v[i])
		}
	case string:
		if !strings.Contains(v, opening) {
			return v
		}
		bound, err := w.expand(v)
		if err != nil {
			w.problems = append(w.problems, fmt.Sprintf("%s: %v", fieldPath(path), err))
		}
		return bound
	}
	return v
}

// expand replaces the references of one string.
func (w *binder) expand(s string) (string, error) {
	var out strings.Builder
	for {
		before, after, found := strings.Cut(s, opening)
		if !found {
			out.WriteString(s)
			return out.String(), nil
		}
		if literal, escaped := strings.CutSuffix(before, "$"); escaped {
			out.WriteString(literal)
			out.WriteString(opening)
			s = after
			continue
		}
		out.WriteString(before)
		name, rest, closed := strings.Cut(after, "}")
		if !closed || !IsBindingName(name) {
			return "", fmt.Errorf("%q is not ${atoll:cluster.NAME} or ${atoll:var.NAME}; write $${atoll: for the text itself", opening+shorten(name))
		}
		value, err := w.lookup(name)
		if err != nil {
			return "", err
		}
		if w.room -= len(value); w.room < 0 {
			return "", errors.New("the bound values make the object larger than one MiB")
		}
		out.WriteString(value)
		s = rest
	}
}

func fieldPath(path []string) string {
	var b strings.Builder
	for _, p := range path {
		if b.Len() > 0 && !strings.HasPrefix(p, "[") {
			b.WriteByte('.')
		}
		b.WriteString(p)
	}
	return b.String()
}
