package policy

import (
	"maps"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"atoll.dev/atoll/internal/desired"
)

// Member is what ProjectRBAC must know of the cluster that will enforce it.
type Member struct {
	// Resources are what the member serves, from its discovery; a kind whose
	// CRD arrives later needs the access to be computed again.
	Resources []Resource
	// Namespaces are those the project's objects name. RBAC knows no prefixes,
	// so each gets its rights by name; names the project does not own are
	// dropped.
	Namespaces []string
}

// Resource is one served kind with its plural name.
type Resource struct {
	Group, Kind, Plural string
	Namespaced          bool
}

// Access is what the member gives the ServiceAccount atoll-project-PROJECT.
type Access struct {
	// Cluster are the rules of its ClusterRole, bound cluster-wide.
	Cluster []rbacv1.PolicyRule
	// Namespaced are the rules to bind in each of Namespaces.
	Namespaced []rbacv1.PolicyRule
	// Namespaces are the names that it owns among those asked for, sorted.
	Namespaces []string
}

// writeVerbs are what server-side apply, pruning and the reads before need.
var writeVerbs = []string{"get", "create", "patch", "update", "delete"}

// ProjectRBAC is the access under which a project's objects are applied. It
// grants what Check allows and RBAC can express: the namespaced kinds without
// access rights in the project's own namespaces, those namespaces themselves,
// and the kinds listed in the policy. Kinds are named one by one, so nothing
// reaches a subresource such as serviceaccounts/token or pods/exec.
func ProjectRBAC(project string, p desired.Policy, member Member) Access {
	a := Access{Namespaces: ownedOf(desired.Namespaces(project, p.Namespaces), member.Namespaces)}
	cluster, namespaced := map[string][]string{}, map[string][]string{}
	for _, r := range member.Resources {
		gk := schema.GroupKind{Group: r.Group, Kind: r.Kind}
		free := r.Namespaced && r.Group != rbacv1.GroupName
		switch {
		case reservedGroups[r.Group] || gk == schema.GroupKind{Kind: "Namespace"} || strings.Contains(r.Plural, "/"):
		case !free && !listed(p.Kinds, gk):
		case r.Namespaced:
			namespaced[r.Group] = append(namespaced[r.Group], r.Plural)
		default:
			cluster[r.Group] = append(cluster[r.Group], r.Plural)
		}
	}
	a.Cluster, a.Namespaced = rules(cluster), rules(namespaced)
	if len(a.Namespaces) > 0 {
		// The API server authorizes an apply that creates with the object's
		// name, so create can be limited by name as well.
		a.Cluster = append(a.Cluster, rbacv1.PolicyRule{
			APIGroups: []string{""}, Resources: []string{"namespaces"}, ResourceNames: a.Namespaces, Verbs: writeVerbs,
		})
	}
	return a
}

// rules is one rule per API group, in an order that never changes, so that an
// unchanged access is recognised as such.
func rules(byGroup map[string][]string) []rbacv1.PolicyRule {
	var out []rbacv1.PolicyRule
	for _, group := range slices.Sorted(maps.Keys(byGroup)) {
		plurals := byGroup[group]
		slices.Sort(plurals)
		out = append(out, rbacv1.PolicyRule{APIGroups: []string{group}, Resources: slices.Compact(plurals), Verbs: writeVerbs})
	}
	return out
}

func ownedOf(patterns, wanted []string) []string {
	var owned []string
	for _, name := range wanted {
		if name != "" && desired.Owns(patterns, name) && !SystemOwned(name) {
			owned = append(owned, name)
		}
	}
	slices.Sort(owned)
	return slices.Compact(owned)
}
