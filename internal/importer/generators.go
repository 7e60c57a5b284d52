package importer

import (
	"errors"
	"fmt"
	"maps"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"
)

// set is what one application of an ApplicationSet is made from.
type set struct {
	params map[string]any
	// of is the cluster generator that it came from, if one did.
	of *choice
}

// choice is a generator's choice of clusters.
type choice struct {
	// selector in Atoll's syntax; "" means every cluster.
	selector string
	// all are the clusters that it matches; none when no cluster is known.
	all []string
}

// maxSets bounds what the generators of one ApplicationSet may make.
const maxSets = 10000

var errTooMany = fmt.Errorf("makes more than %d applications; import its parts", maxSets)

// generation expands the generators of one ApplicationSet.
type generation struct {
	a    *argo
	lang templating
}

// expand gives the sets of generators one after the other. with are the
// parameters of the generator before, within a matrix.
func (g *generation) expand(all []*fields, with map[string]any, depth int) ([]set, error) {
	var out []set
	for _, f := range all {
		if with != nil {
			m, err := g.interpolate(f.m, with)
			if err != nil {
				return nil, err
			}
			f = fieldsOf(f.r, f.object, f.at, m)
		}
		sets, err := g.one(f, with, depth)
		if err != nil {
			return nil, err
		}
		if out = append(out, sets...); len(out) > maxSets {
			return nil, errTooMany
		}
	}
	return out, nil
}

// interpolate fills a generator with what the one before it found. Its values
// wait until its own parameters are known.
func (g *generation) interpolate(m, with map[string]any) (map[string]any, error) {
	out := map[string]any{}
	for kind, spec := range m {
		inner, _ := spec.(map[string]any)
		values, has := inner["values"]
		if has {
			inner = maps.Clone(inner)
			delete(inner, "values")
			spec = inner
		}
		filled, err := g.lang.fill(spec, with)
		if err != nil {
			return nil, err
		}
		if inner, ok := filled.(map[string]any); ok && has {
			inner["values"] = values
		}
		out[kind] = filled
	}
	return out, nil
}

func (g *generation) one(f *fields, with map[string]any, depth int) (sets []set, err error) {
	wanted, err := selectorOf(f.take("selector"))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.path("selector"), err)
	}
	switch {
	case f.has("list"):
		sets, err = g.elements(f.sub("list"))
	case f.has("clusters"):
		sets, err = g.clusters(f.sub("clusters"), with)
	case f.has("git"):
		sets, err = g.git(f.sub("git"), with)
	case f.has("matrix") && depth < 2:
		sets, err = g.matrix(f.sub("matrix"), with, depth)
	}
	f.skip("list", "clusters", "git", "matrix")
	for kind := range f.m {
		if !f.taken[kind] {
			return nil, fmt.Errorf("%s cannot be expanded here: list its elements, or import its Applications", f.path(kind))
		}
	}
	if err != nil || wanted == nil {
		return sets, err
	}
	var kept []set
	for _, s := range sets {
		flat := map[string]string{}
		flatten("", s.params, flat)
		if wanted.Matches(labels.Set(flat)) {
			kept = append(kept, s)
		}
	}
	return kept, nil
}

func (g *generation) elements(f *fields) ([]set, error) {
	var out []set
	items := f.list("elements")
	if text := f.text("elementsYaml"); text != "" {
		if err := yaml.Unmarshal([]byte(text), &items); err != nil {
			return nil, fmt.Errorf("%s: %w", f.path("elementsYaml"), err)
		}
	}
	f.lose("template", "a template of a generator's own is not carried over")
	f.done()
	for i, item := range items {
		m, ok := item.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("%s[%d] is no map", f.path("elements"), i)
		}
		out = append(out, set{params: m})
	}
	return out, nil
}

// clusters are those that the files tell of. When they tell of none, one stands
// for all of them: what is the same everywhere can be said without their names.
func (g *generation) clusters(f *fields, with map[string]any) ([]set, error) {
	values, _ := f.take("values").(map[string]any)
	selector, err := selectorOf(f.take("selector"))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.path("selector"), err)
	}
	f.lose("template", "a template of a generator's own is not carried over")
	f.lose("flatList", "clusters as one list are not carried over")
	f.done()
	of := &choice{selector: withoutSecretType(selector)}
	var chosen []cluster
	for _, c := range g.a.clusters {
		if selector == nil || selector.Matches(labels.Set(c.secretLabels())) {
			chosen = append(chosen, c)
			of.all = append(of.all, c.name)
		}
	}
	if g.a.secrets == 0 {
		chosen, of.all = []cluster{anyCluster}, nil
	}
	var out []set
	for _, c := range chosen {
		params := c.params()
		if len(values) > 0 {
			filled, err := g.lang.fill(values, merged(with, params))
			if err != nil {
				return nil, err
			}
			params["values"] = filled
		}
		out = append(out, set{params: params, of: of})
	}
	return out, nil
}

func (g *generation) matrix(f *fields, with map[string]any, depth int) ([]set, error) {
	children := f.each("generators")
	f.lose("template", "a template of a generator's own is not carried over")
	f.done()
	if len(children) != 2 {
		return nil, errors.New(f.path("generators") + ": a matrix has two")
	}
	first, err := g.expand(children[:1], with, depth+1)
	if err != nil {
		return nil, err
	}
	var out []set
	for _, a := range first {
		given := merged(with, a.params)
		second, err := g.expand(children[1:], given, depth+1)
		if err != nil {
			return nil, err
		}
		for _, b := range second {
			of := b.of
			if of == nil {
				of = a.of
			}
			if out = append(out, set{params: merged(a.params, b.params), of: of}); len(out) > maxSets {
				return nil, errTooMany
			}
		}
	}
	return out, nil
}

// merged has the later one win, map by map.
func merged(a, b map[string]any) map[string]any {
	out := maps.Clone(a)
	if out == nil {
		out = map[string]any{}
	}
	for k, v := range b {
		into, ok := out[k].(map[string]any)
		if from, both := v.(map[string]any); ok && both {
			v = merged(into, from)
		}
		out[k] = v
	}
	return out
}

func selectorOf(v any) (labels.Selector, error) {
	m, ok := v.(map[string]any)
	if !ok {
		return nil, nil
	}
	s := metav1.LabelSelector{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(m, &s); err != nil {
		return nil, err
	}
	return metav1.LabelSelectorAsSelector(&s)
}

// withoutSecretType is a selector in Atoll's syntax: that a cluster's Secret is
// one goes without saying.
func withoutSecretType(s labels.Selector) string {
	if s == nil {
		return ""
	}
	out := labels.NewSelector()
	requirements, _ := s.Requirements()
	for _, r := range requirements {
		if r.Key() != labelSecretType {
			out = out.Add(r)
		}
	}
	return out.String()
}
