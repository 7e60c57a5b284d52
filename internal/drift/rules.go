package drift

import (
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"atoll.dev/atoll/api/v1alpha1"
)

// Rules are compiled FieldRules.
type Rules []rule

type rule struct {
	group, kind, name string
	paths             Paths
}

// CompileRules parses every path; the error names each that is wrong.
func CompileRules(rules []v1alpha1.FieldRule) (Rules, error) {
	var compiled Rules
	var errs []error
	for i, r := range rules {
		c := rule{group: r.Group, kind: r.Kind, name: r.Name}
		for j, text := range r.Paths {
			p, err := ParsePath(text)
			if err != nil {
				errs = append(errs, fmt.Errorf("rule %d, path %d: %w", i, j, err))
				continue
			}
			c.paths = append(c.paths, p)
		}
		compiled = append(compiled, c)
	}
	return compiled, errors.Join(errs...)
}

// For selects the paths that apply to one object; empty parts of a rule match
// everything.
func (rs Rules) For(gk schema.GroupKind, name string) Paths {
	var paths Paths
	for _, r := range rs {
		if (r.group == "" || r.group == gk.Group) && (r.kind == "" || r.kind == gk.Kind) && (r.name == "" || r.name == name) {
			paths = append(paths, r.paths...)
		}
	}
	return paths
}
