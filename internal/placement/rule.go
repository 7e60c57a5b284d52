package placement

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/labels"

	"atoll.dev/atoll/api/v1alpha1"
)

// Rule is a PlacementRule with its selector and expression compiled; it is
// safe for concurrent use.
type Rule struct {
	spec     v1alpha1.PlacementRule
	names    map[string]bool
	selector labels.Selector
	where    *where
}

// Compile prepares a rule; the error joins everything wrong with it.
func Compile(spec v1alpha1.PlacementRule) (*Rule, error) {
	r := &Rule{spec: spec}
	var errs []error
	if len(spec.Names) > 0 {
		r.names = make(map[string]bool, len(spec.Names))
		for _, name := range spec.Names {
			r.names[name] = true
		}
	}
	if strings.TrimSpace(spec.Clusters) != "" {
		selector, err := ParseSelector(spec.Clusters)
		if err != nil {
			errs = append(errs, fmt.Errorf("clusters: %w", err))
		}
		r.selector = selector
	}
	if strings.TrimSpace(spec.Where) != "" {
		expression, err := compileWhere(spec.Where)
		if err != nil {
			errs = append(errs, err)
		}
		r.where = expression
	}
	if len(errs) > 0 {
		return nil, fmt.Errorf("compile placement: %w", errors.Join(errs...))
	}
	return r, nil
}

// ParseSelector reads a label selector in kubectl's syntax.
func ParseSelector(text string) (labels.Selector, error) {
	selector, err := labels.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%q is not a label selector (such as \"stage=production,tier in (a,b)\"): %w", text, err)
	}
	return selector, nil
}

// CompileWhere checks an expression alone; the error starts with "where: ".
func CompileWhere(source string) error {
	_, err := compileWhere(source)
	return err
}

// Empty tells whether the rule asks for no cluster at all.
func (r *Rule) Empty() bool {
	return !r.spec.Hub && r.names == nil && r.selector == nil && r.where == nil
}

// maxCached bounds a Cache; the thousands of applications of a fleet share a
// few dozen rules.
const maxCached = 4096

// Cache compiles each distinct rule once. The zero value is ready; it is safe
// for concurrent use.
type Cache struct {
	mu    sync.Mutex
	rules map[string]*Rule
}

// Compile is the package's Compile, remembered.
func (c *Cache) Compile(spec v1alpha1.PlacementRule) (*Rule, error) {
	key := keyOf(spec)
	c.mu.Lock()
	rule, ok := c.rules[key]
	c.mu.Unlock()
	if ok {
		return rule, nil
	}
	// A rule read from a shared cache must not change under the compiled one.
	rule, err := Compile(*spec.DeepCopy())
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rules == nil || len(c.rules) >= maxCached {
		c.rules = map[string]*Rule{}
	}
	c.rules[key] = rule
	return rule, nil
}

// keyOf is equal for equal rules only: every part is quoted.
func keyOf(spec v1alpha1.PlacementRule) string {
	var count int32
	if spec.Count != nil {
		count = *spec.Count
	}
	var residency v1alpha1.Residency
	if spec.Residency != nil {
		residency = *spec.Residency
	}
	return fmt.Sprintf("%t %q %q %q %d %q %q", spec.Hub, spec.Names, spec.Clusters, spec.Where, count, spec.Tolerations, residency)
}

// Effective is the rule of an application: its own, or the named Placement's
// with the application's tolerations added and its residency narrowed. Named
// may be nil when the application names none.
func Effective(own v1alpha1.ApplicationPlacement, named *v1alpha1.PlacementRule) (v1alpha1.PlacementRule, error) {
	if own.Ref == "" {
		return *own.PlacementRule.DeepCopy(), nil
	}
	if named == nil {
		return v1alpha1.PlacementRule{}, fmt.Errorf("placement: ref names %q, and no such Placement exists; create it or give the rule itself", own.Ref)
	}
	rule := *named.DeepCopy()
	rule.Tolerations = append(rule.Tolerations, own.Tolerations...)
	residency, err := narrow(rule.Residency, own.Residency)
	if err != nil {
		return v1alpha1.PlacementRule{}, fmt.Errorf("placement: residency with that of Placement %q: %w", own.Ref, err)
	}
	rule.Residency = residency
	return rule, nil
}
