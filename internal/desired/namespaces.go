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

// Owns reports whether a namespace is among patterns; a trailing "*" is a prefix.
func Owns(patterns []string, namespace string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		prefix, isPrefix := strings.CutSuffix(pattern, "*")
		return namespace == pattern || isPrefix && strings.HasPrefix(namespace, prefix)
	})
}
