package cli

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"atoll.dev/atoll/api/v1alpha1"
)

// kind is one of the nouns that `get` knows.
type kind struct {
	name       string // as in manifests
	resource   string // plural, as in paths
	word       string // as people type it: app/shop
	namespaced bool
	aliases    []string
}

var (
	clusterKind     = kind{name: "Cluster", resource: "clusters", word: "cluster", aliases: []string{"cl", "atcl"}}
	projectKind     = kind{name: "Project", resource: "projects", word: "project", aliases: []string{"proj", "atpr"}}
	placementKind   = kind{name: "Placement", resource: "placements", word: "placement", aliases: []string{"pl", "atpl"}}
	applicationKind = kind{name: "Application", resource: "applications", word: "app", namespaced: true, aliases: []string{"app", "apps", "atapp"}}
	revisionKind    = kind{name: "Revision", resource: "revisions", word: "revision", namespaced: true, aliases: []string{"rev", "revs", "atrev"}}
	grantKind       = kind{name: "AccessGrant", resource: "accessgrants", word: "grant", namespaced: true, aliases: []string{"grant", "grants", "atgr"}}
	rolloutKind     = kind{name: "RolloutRun", resource: "rolloutruns", word: "rollout", namespaced: true, aliases: []string{"rollout", "rollouts", "atrun"}}

	// kinds stand in the order in which manifests are applied.
	kinds = []kind{projectKind, placementKind, clusterKind, grantKind, applicationKind, revisionKind, rolloutKind}
)

// nouns are what people type after get and describe.
var nouns = []string{"clusters", "projects", "apps", "revisions", "rollouts", "placements", "grants"}

func (k kind) singular() string { return strings.ToLower(k.name) }

func (k kind) gvr() schema.GroupVersionResource {
	return v1alpha1.GroupVersion.WithResource(k.resource)
}

// ref is what -o name prints: "cluster.atoll.dev/us-east-1".
func (k kind) ref(name string) string {
	return k.singular() + "." + v1alpha1.GroupVersion.Group + "/" + name
}

// findKind accepts plural, singular and short names, with or without the group.
func findKind(word string) (kind, error) {
	bare := strings.TrimSuffix(strings.ToLower(word), "."+v1alpha1.GroupVersion.Group)
	for _, k := range kinds {
		if bare == k.resource || bare == k.singular() || slices.Contains(k.aliases, bare) {
			return k, nil
		}
	}
	known := slices.Clone(nouns)
	for _, k := range kinds {
		known = append(known, k.resource, k.singular())
	}
	return kind{}, wrong("there is no kind %q%s (kinds: %s)", word, didYouMean(word, known), strings.Join(nouns, ", "))
}

// parseRef reads "app/shop", "applications/shop" or, where a kind is expected
// anyway, "shop".
func parseRef(arg string, expect kind) (string, error) {
	prefix, name, slash := strings.Cut(arg, "/")
	if !slash {
		name = prefix
	} else if k, err := findKind(prefix); err != nil {
		return "", err
	} else if k.name != expect.name {
		return "", wrong("%s names a %s; this command is about %ss", arg, k.singular(), expect.singular())
	}
	if name == "" || strings.Contains(name, "/") {
		return "", wrong("%q names no %s; write %s/NAME", arg, expect.singular(), expect.word)
	}
	return name, nil
}

// appRef is how the commands print an application: it can be pasted back.
func appRef(project, name string) string { return fmt.Sprintf("app/%s -p %s", name, project) }
