// Package importer turns what Argo CD or Flux was told into Atoll's objects.
//
// It decides which Atoll object says the same, and names every field that none
// of them can say: nothing is dropped in silence. It reads no cluster, runs no
// program and fetches nothing; repositories that generators look into come as
// file systems. Applying what it made, and taking over what runs, it leaves to
// the command line.
package importer

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"atoll.dev/atoll/api/v1alpha1"
)

// Objects are foreign ones, as they were read.
type Objects = []*unstructured.Unstructured

// Options are what the objects themselves do not tell.
type Options struct {
	// Owner is the team that answers for imported clusters.
	Owner string
	// InCluster is Atoll's name for the cluster in which Argo CD runs, which it
	// calls https://kubernetes.default.svc.
	InCluster string
	// Project is where Flux's objects go.
	Project string
	// Placement is where Flux runs: an installation knows its own cluster only.
	Placement *v1alpha1.ApplicationPlacement
	// Repositories are checkouts by URL, for generators that look into them.
	Repositories map[string]fs.FS
}

// Loss is something that was said and could not be carried over.
type Loss struct {
	// Object is KIND NAMESPACE/NAME, Field where in it.
	Object, Field, Why string
	// Harmless is what changes nothing of what runs, or when.
	Harmless bool
}

func (l Loss) String() string {
	if l.Field == "" {
		return l.Object + ": " + l.Why
	}
	return l.Object + ": " + l.Field + ": " + l.Why
}

// Result is what became of the objects.
type Result struct {
	// Objects stand in the order in which they are to be applied.
	Objects []*unstructured.Unstructured
	// Lost stand by object, each once.
	Lost []Loss
}

// Faithful tells that what the objects say is all that was said.
func (r *Result) Faithful() bool {
	return !slices.ContainsFunc(r.Lost, func(l Loss) bool { return !l.Harmless })
}

// YAML is the objects as documents of one file.
func (r *Result) YAML() ([]byte, error) {
	var out []byte
	for i, o := range r.Objects {
		data, err := yaml.Marshal(o.Object)
		if err != nil {
			return nil, fmt.Errorf("encode %s %s: %w", o.GetKind(), o.GetName(), err)
		}
		if i > 0 {
			out = append(out, "---\n"...)
		}
		out = append(out, data...)
	}
	return out, nil
}

var ranks = []string{"Project", "Cluster", "Application"}

// finish puts everything in an order that is the same each time.
func (r *Result) finish() *Result {
	slices.SortFunc(r.Objects, func(a, b *unstructured.Unstructured) int {
		return cmp.Or(
			cmp.Compare(slices.Index(ranks, a.GetKind()), slices.Index(ranks, b.GetKind())),
			cmp.Compare(a.GetNamespace(), b.GetNamespace()), cmp.Compare(a.GetName(), b.GetName()))
	})
	slices.SortFunc(r.Lost, func(a, b Loss) int {
		return cmp.Or(cmp.Compare(a.Object, b.Object), cmp.Compare(a.Field, b.Field), cmp.Compare(a.Why, b.Why))
	})
	r.Lost = slices.Compact(r.Lost)
	return r
}

func (r *Result) lose(object, field, why string, args ...any) {
	r.Lost = append(r.Lost, Loss{Object: object, Field: field, Why: fmt.Sprintf(why, args...)})
}

func (r *Result) note(object, field, why string, args ...any) {
	r.Lost = append(r.Lost, Loss{Object: object, Field: field, Why: fmt.Sprintf(why, args...), Harmless: true})
}

// AnnotationOrigin on an imported object tells what it was made of.
const AnnotationOrigin = "atoll.dev/imported-from"

// add refuses a second object of the same name, which would replace the first.
func (r *Result) add(kind, project, name, origin string, labels map[string]string, spec any) {
	o := &unstructured.Unstructured{}
	o.SetAPIVersion(v1alpha1.GroupVersion.String())
	o.SetKind(kind)
	o.SetNamespace(project)
	o.SetName(name)
	if len(labels) > 0 {
		o.SetLabels(labels)
	}
	if slices.ContainsFunc(r.Objects, func(other *unstructured.Unstructured) bool {
		return other.GetKind() == kind && other.GetNamespace() == project && other.GetName() == name
	}) {
		r.lose(origin, "metadata.name", "there is a %s %s already; import this one on its own, and rename it", kind, strings.TrimPrefix(project+"/"+name, "/"))
		return
	}
	o.SetAnnotations(map[string]string{AnnotationOrigin: origin})
	o.Object["spec"] = plain(spec)
	r.Objects = append(r.Objects, o)
}

// plain is a spec as people would write it, without the structs of which
// nothing is set.
func plain(spec any) map[string]any {
	data, err := json.Marshal(spec)
	if err != nil {
		panic(err) // our own types, of strings and numbers
	}
	out := map[string]any{}
	if err := json.Unmarshal(data, &out); err != nil {
		panic(err)
	}
	dropEmpty(out, "drift")
	if source, ok := out["source"].(map[string]any); ok {
		for _, kind := range []string{"git", "oci"} {
			if m, ok := source[kind].(map[string]any); ok {
				dropEmpty(m, "ref")
			}
		}
	}
	return out
}

func dropEmpty(m map[string]any, key string) {
	if v, ok := m[key].(map[string]any); ok && len(v) == 0 {
		delete(m, key)
	}
}
