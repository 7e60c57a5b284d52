package content

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"atoll.dev/atoll/internal/phase"
	"atoll.dev/atoll/internal/syncoption"
)

// Parse reads manifests into a Bundle. Every problem is collected; the error,
// if any, is an *Error. Nothing is returned beside an error.
func Parse(files []File, o Options) (Parsed, error) {
	p := parser{
		options: o,
		budget:  MaxTotal,
		errs:    &Error{},
		places:  map[identity]place{},
		values:  map[string][]byte{},
	}
	if p.measure(files) {
		for _, f := range files {
			p.file(f)
		}
	}
	if err := p.errs.orNil(); err != nil {
		return Parsed{}, err
	}
	slices.SortFunc(p.objects, compareObjects)
	parsed := Parsed{Bundle: Bundle{Objects: p.objects}, Warnings: p.warnings}
	for _, ref := range slices.Sorted(maps.Keys(p.values)) {
		parsed.Values = append(parsed.Values, SecretValue{Ref: ref, Value: p.values[ref]})
	}
	return parsed, nil
}

type parser struct {
	options  Options
	budget   int64 // bytes that manifests may still have after aliases
	encoded  int64
	full     bool // a limit was passed: reading on would only cost memory
	errs     *Error
	warnings []Problem
	objects  []Object
	places   map[identity]place
	values   map[string][]byte
}

func (p *parser) measure(files []File) bool {
	var total int64
	for _, f := range files {
		total += int64(len(f.Data))
	}
	if total <= MaxTotal {
		return true
	}
	p.errs.add(Problem{Message: fmt.Sprintf("the manifests have %d bytes, more than %d: split the application", total, MaxTotal)})
	return false
}

func (p *parser) file(f File) {
	for _, d := range split(f.Data) {
		if p.full {
			return
		}
		at := place{file: f.Name, document: d.number, line: d.line}
		values, size, err := d.values(f.Name, p.budget)
		if err != nil {
			p.errs.add(at.problem("", "%v", err))
			continue
		}
		p.budget -= size
		for _, v := range values {
			p.value(at, v, 0)
		}
	}
}

// value takes one decoded value: an object, or a list of them to unwrap.
// depth counts the lists around it.
func (p *parser) value(at place, v any, depth int) {
	switch manifest := v.(type) {
	case nil: // "~", or a document of anchors only
	case map[string]any:
		if items, ok := listItems(manifest); ok {
			p.list(at, manifest, items, depth+1)
			return
		}
		p.object(at, manifest)
	case []any:
		p.errs.add(at.problem("", "is a bare list; write the objects as documents separated by '---', or as items of a v1 List"))
	default:
		p.errs.add(at.problem("", "is not a Kubernetes object: an object has apiVersion, kind and metadata"))
	}
}

// listItems tells lists ("List", "ConfigMapList") from objects of a kind that
// merely ends in List: a list has no name and nothing but items.
func listItems(manifest map[string]any) (items any, ok bool) {
	kind, _ := manifest["kind"].(string)
	if !strings.HasSuffix(kind, "List") {
		return nil, false
	}
	items, ok = manifest["items"]
	if apiVersion, _ := manifest["apiVersion"].(string); kind == "List" && (apiVersion == "v1" || apiVersion == "") {
		return items, true
	}
	metadata, _ := manifest["metadata"].(map[string]any)
	_, named := metadata["name"]
	return items, ok && !named
}

// maxNesting bounds lists within lists.
const maxNesting = 4

func (p *parser) list(at place, manifest map[string]any, items any, depth int) {
	list := typeOf(manifest)
	elements, ok := items.([]any)
	switch {
	case !ok && items != nil:
		p.errs.add(at.problem(list.Kind, "items must be a list of objects"))
		return
	case depth > maxNesting:
		p.errs.add(at.problem(list.Kind, "lists stand more than %d deep within each other: unwrap them", maxNesting))
		return
	}
	for _, e := range elements {
		if p.full {
			return
		}
		if m, ok := e.(map[string]any); ok {
			inheritType(m, list)
		}
		p.value(at, e, depth)
	}
}

// inheritType gives an item the type that its typed list implies: the API
// server leaves it out of the items of a DeploymentList.
func inheritType(item map[string]any, list typeMeta) {
	if list.Kind == "List" {
		return
	}
	if _, ok := item["apiVersion"]; !ok {
		item["apiVersion"] = list.APIVersion
	}
	if _, ok := item["kind"]; !ok {
		item["kind"] = strings.TrimSuffix(list.Kind, "List")
	}
}

func (p *parser) object(at place, manifest map[string]any) {
	label := describe(manifest)
	object, problems := p.read(at, label, manifest)
	for _, message := range problems {
		p.errs.add(at.problem(label, "%s", message))
	}
	if len(problems) == 0 {
		p.keep(at, label, object)
	}
}

func (p *parser) read(at place, label string, manifest map[string]any) (Object, []string) {
	ref, problems := check(manifest)
	if len(problems) > 0 {
		return Object{}, problems
	}
	if whole, err := canonicalJSON(manifest); err != nil {
		return Object{}, []string{err.Error()}
	} else if len(whole) > MaxObject {
		return Object{}, []string{fmt.Sprintf("has %d bytes, more than %d, which the API server's store refuses: split it", len(whole), MaxObject)}
	}
	mark, err := phase.Of(manifest)
	if err != nil {
		return Object{}, []string{"metadata.annotations: " + err.Error()}
	}
	if mark.LeftOut != "" {
		p.warnings = append(p.warnings, at.problem(label, "%s: not delivered", mark.LeftOut))
	}
	options, err := syncoption.Of(manifest)
	if err != nil {
		return Object{}, []string{"metadata.annotations: " + err.Error()}
	}
	if len(options.Missed) > 0 {
		p.warnings = append(p.warnings, at.problem(label, "Argo CD's sync option %s is not done here", strings.Join(options.Missed, ", ")))
	}
	if dropped := dropServerOwned(manifest); len(dropped) > 0 {
		p.warnings = append(p.warnings, at.problem(label, "left out %s: the API server sets it", strings.Join(dropped, ", ")))
	}
	object := Object{Ref: ref}
	if isSecret(ref) {
		if object.Values, problems = p.splitSecret(ref, manifest); len(problems) > 0 {
			return Object{}, problems
		}
	}
	if object.Manifest, err = canonicalJSON(manifest); err != nil {
		return Object{}, []string{err.Error()}
	}
	return object, nil
}

func (p *parser) keep(at place, label string, object Object) {
	id := identityOf(object.Ref)
	if id.namespace == "" {
		id.namespace = p.options.Namespace
	}
	if first, ok := p.places[id]; ok {
		p.errs.add(at.problem(label, "stands twice; it is also in %s: keep one", first))
		return
	}
	p.places[id] = at
	p.objects = append(p.objects, object)
	p.encoded += int64(len(object.Manifest))
	switch {
	case len(p.objects) > MaxObjects:
		p.full = true
		p.errs.add(at.problem(label, "is one more than the %d objects that an application may have: split it into several applications", MaxObjects))
	case p.encoded > MaxTotal:
		p.full = true
		p.errs.add(at.problem(label, "brings the application over %d bytes: split it into several applications", MaxTotal))
	}
}
