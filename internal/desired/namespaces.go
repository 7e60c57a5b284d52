package desired

import (
	"slices"
	"strings"
)

// Namespaces are the patterns a project may own in members: those given, or
// its own name and NAME-* when none is.
func Namespaces(project string, given []string) []string {
	if len(given) > 0 {
		return given
	}
	return []string{project, project + "-*"}
}

// Except is the pattern that takes out what another project claims. No person
// can write one: neither sign may stand in a namespace.
func Except(pattern, project string) string { return "!" + pattern + "@" + project }

// Claims are patterns without their exceptions.
func Claims(patterns []string) []string {
	return slices.DeleteFunc(slices.Clone(patterns), func(p string) bool { return strings.HasPrefix(p, "!") })
}

// Owns reports whether a namespace is among patterns; a trailing "*" is a prefix.
// Of several that match the most exact decides, and an exception over its equal.
func Owns(patterns []string, namespace string) bool {
	owned, _, _ := Owner(patterns, namespace)
	return owned
}

// Owner is Owns, and names the other project that an exception gives the
// namespace to, with its claim.
func Owner(patterns []string, namespace string) (owned bool, other, claim string) {
	most := -1
	for _, p := range patterns {
		pattern, project := p, ""
		if excepted, ok := strings.CutPrefix(p, "!"); ok {
			pattern, project, _ = strings.Cut(excepted, "@")
		}
		exact := exactness(pattern, namespace)
		if exact < 0 || exact < most || exact == most && project == "" {
			continue
		}
		most, owned, other, claim = exact, project == "", project, ""
		if !owned {
			claim = pattern
		}
	}
	return owned, other, claim
}

// exactness orders the patterns that match a namespace; -1 does not match.
func exactness(pattern, namespace string) int {
	prefix, isPrefix := strings.CutSuffix(pattern, "*")
	switch {
	case pattern == namespace:
		return len(namespace) + 1 // more than any prefix of it
	case isPrefix && strings.HasPrefix(namespace, prefix):
		return len(prefix)
	}
	return -1
}

// Covers reports whether every namespace of the inner pattern is also of one
// among patterns.
func Covers(patterns []string, inner string) bool {
	return slices.ContainsFunc(patterns, func(outer string) bool {
		prefix, isPrefix := strings.CutSuffix(outer, "*")
		return outer == inner || isPrefix && strings.HasPrefix(strings.TrimSuffix(inner, "*"), prefix)
	})
}
