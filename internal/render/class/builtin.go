package class

import (
	"maps"
	"slices"
	"strings"

	"k8s.io/client-go/kubernetes/scheme"
)

// BuiltIn are the capabilities of a Kubernetes of that version which also
// serves others, such as "monitoring.coreos.com/v1". Of its own APIs only the
// stable ones are counted: it serves no others unless somebody asks it to.
func BuiltIn(kubeVersion string, others []string) Capabilities {
	return Capabilities{KubeVersion: kubeVersion, APIVersions: slices.Concat(stable, others)}
}

var stable = func() []string {
	names := map[string]bool{}
	for kind := range scheme.Scheme.AllKnownTypes() {
		version := kind.GroupVersion().String()
		if kind.Version == "__internal" || strings.Contains(kind.Version, "alpha") || strings.Contains(kind.Version, "beta") {
			continue
		}
		names[version] = true
		if !strings.HasSuffix(kind.Kind, "List") && !strings.HasSuffix(kind.Kind, "Options") && kind.Kind != "WatchEvent" {
			names[version+"/"+kind.Kind] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}()
