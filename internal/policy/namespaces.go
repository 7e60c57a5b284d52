package policy

import (
	"strings"

	"atoll.dev/atoll/api/v1alpha1"
)

// SystemOwned tells whether a namespace is the cluster's or the agent's, which
// no pattern of an unprivileged project reaches.
func SystemOwned(namespace string) bool {
	return namespace == v1alpha1.SystemNamespace || strings.HasPrefix(namespace, "kube-")
}
