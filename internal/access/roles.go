package access

import (
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"

	"atoll.dev/atoll/api/v1alpha1"
)

// Role is one of the roles with what it allows. The same rules count in a project
// and in the fleet: what belongs to no project is allowed by a grant in the fleet
// alone.
type Role struct {
	Name  v1alpha1.Role
	Rules []rbacv1.PolicyRule
}

const (
	atollGroup = "atoll.dev"
	fleetGroup = "fleet.atoll.dev"
	// prefix is of the names of our ClusterRoles.
	prefix = "atoll:"
)

// ClusterRole is the name of the ClusterRole of a role.
func ClusterRole(role v1alpha1.Role) string { return prefix + string(role) }

// Find is the role of which a ClusterRole bears the name.
func Find(clusterRole string) (Role, bool) {
	for _, r := range Roles() {
		if ClusterRole(r.Name) == clusterRole {
			return r, true
		}
	}
	return Role{}, false
}

var (
	read    = []string{"get", "list", "watch"}
	change  = []string{"update", "patch"}
	write   = []string{"create", "update", "patch", "delete"}
	answers = []string{"applications", "applications/clusters", "applications/explain", "applications/objects", "applications/diff", "applications/events"}
	names   = []v1alpha1.Role{
		v1alpha1.RoleViewer, v1alpha1.RoleDeveloper, v1alpha1.RoleReleaser, v1alpha1.RoleOperator,
		v1alpha1.RoleSecrets, v1alpha1.RoleAuditor, v1alpha1.RoleAdmin,
	}
)

// Names are the names of all roles.
func Names() []string {
	var out []string
	for _, n := range names {
		out = append(out, string(n))
	}
	return out
}

// Roles are all roles. None but secrets, which is given in projects alone, speaks of
// what could be somebody else's: where the hub stores in a cluster that others use
// too, a grant in the fleet must give nothing of theirs.
func Roles() []Role {
	rules := map[v1alpha1.Role][]rbacv1.PolicyRule{
		v1alpha1.RoleViewer:    look(),
		v1alpha1.RoleDeveloper: developer(),
		v1alpha1.RoleReleaser:  releaser(),
		v1alpha1.RoleOperator:  operator(),
		v1alpha1.RoleSecrets:   {rule("", []string{"secrets", "configmaps"}, append(read, write...)...), give(v1alpha1.RoleSecrets)},
		v1alpha1.RoleAuditor:   append(look(), audit()...),
		v1alpha1.RoleAdmin:     admin(),
	}
	var out []Role
	for _, n := range names {
		out = append(out, Role{Name: n, Rules: rules[n]})
	}
	return out
}

func rule(group string, resources []string, verbs ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: resources, Verbs: verbs}
}

// look is what every role sees but secrets.
func look() []rbacv1.PolicyRule {
	return []rbacv1.PolicyRule{
		rule(atollGroup, []string{"applications", "revisions", "rolloutruns", "projects", "placements", "clusters"}, read...),
		// What has no name in its path is listed, by the word of Kubernetes' API servers.
		rule(fleetGroup, []string{"overview", "alerts", "certificates", "metrics"}, "get", "list"),
		rule(fleetGroup, append([]string{"clusters", "clusters/report"}, answers...), "get"),
	}
}

// try lets one ask what a change would do, and have agents apply once more what is
// asked already.
func try() rbacv1.PolicyRule {
	return rule(fleetGroup, []string{"plans", "applications/sync"}, "create")
}

// developer writes applications, and leaves rollouts to a releaser: who makes a
// change is not who approves it.
func developer() []rbacv1.PolicyRule {
	return append(look(), try(),
		rule(atollGroup, []string{"applications"}, write...),
		rule(fleetGroup, []string{"contents"}, "create"),
	)
}

// releaser steers what developers made: rollouts, and applications that are there.
func releaser() []rbacv1.PolicyRule {
	return append(look(), try(),
		rule(atollGroup, []string{"applications", "rolloutruns"}, change...),
	)
}

// operator runs the fleet, and says neither whose a cluster is nor what a project may.
func operator() []rbacv1.PolicyRule {
	freeze := rule("", []string{"configmaps"}, append([]string{"get"}, write...)...)
	freeze.ResourceNames = []string{v1alpha1.FreezeName}
	return append(look(), try(), freeze,
		rule(atollGroup, []string{"applications", "rolloutruns"}, change...),
		rule(atollGroup, []string{"placements"}, write...),
		rule(atollGroup, []string{"clusters"}, append([]string{"upgrade"}, write...)...),
		rule(fleetGroup, []string{"clusters/join"}, "create"),
		rule(fleetGroup, []string{"clusters/memory"}, "get", "create"),
		rule(fleetGroup, []string{"clusters/proxy"}, append([]string{"get"}, write...)...),
	)
}

// audit is what was done and who may do it.
func audit() []rbacv1.PolicyRule {
	return []rbacv1.PolicyRule{
		rule(atollGroup, []string{"accessgrants"}, read...),
		rule(fleetGroup, []string{"audit"}, "get"),
	}
}

// give lets one grant roles where one may write grants.
func give(roles ...v1alpha1.Role) rbacv1.PolicyRule {
	bind := rule(rbacv1.GroupName, []string{"clusterroles"}, "bind")
	for _, r := range roles {
		bind.ResourceNames = append(bind.ResourceNames, ClusterRole(r))
	}
	return bind
}

// Giver is the role that gives a role.
func Giver(role v1alpha1.Role) v1alpha1.Role {
	if role == v1alpha1.RoleSecrets {
		return role
	}
	return v1alpha1.RoleAdmin
}

// admin does what all others do but read Secrets, and gives every role where it holds
// but secrets, which it would give itself: only who has that one, too, gives it.
func admin() []rbacv1.PolicyRule {
	others := slices.DeleteFunc(slices.Clone(names), func(n v1alpha1.Role) bool { return n == v1alpha1.RoleSecrets })
	return append(append(operator(), audit()...), give(others...),
		rule(atollGroup, []string{"applications", "projects", "accessgrants"}, write...),
		rule(atollGroup, []string{"clusters", "projects"}, "classify"),
		rule(atollGroup, []string{"projects"}, "escalate"),
		rule(fleetGroup, []string{"contents"}, "create"),
	)
}

// Allows tells whether rules allow a verb on all objects of a resource, such as
// "applications" or "clusters/proxy".
func Allows(rules []rbacv1.PolicyRule, verb, group, resource string) bool {
	for _, r := range rules {
		if len(r.ResourceNames) == 0 && slices.Contains(r.Verbs, verb) && slices.Contains(r.APIGroups, group) && slices.Contains(r.Resources, resource) {
			return true
		}
	}
	return false
}
