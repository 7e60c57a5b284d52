package policy

import (
	"strings"

	"atoll.dev/atoll/api/v1alpha1"
)

// Namespaces are the patterns a project may own: those given, or its own name
// and NAME-* when none is.
func Namespaces(project string, given []string) []string {
	if len(given) > 0 {
		return given
	}
	return []string{project, project + "-*"}
}

// Owns tells whether a namespace is among patterns; a trailing "*" is a prefix.
func Owns(patterns []string, namespace string) bool {
	for _, pattern := range patterns {
		prefix, isPrefix := strings.CutSuffix(pattern, "*")
		if namespace == pattern || (isPrefix && strings.HasPrefix(namespace, prefix)) {
			return true
		}
	}
	return false
}

// SystemOwned tells whether a namespace is the cluster's or the agent's, which
// no pattern of an unprivileged project reaches.
func SystemOwned(namespace string) bool {
	return namespace == v1alpha1.SystemNamespace || strings.HasPrefix(namespace, "kube-")
}
