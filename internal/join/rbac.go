package join

import (
	rbacv1 "k8s.io/api/rbac/v1"

	"atoll.dev/atoll/api/v1alpha1"
)

// Names of what is installed in a member.
const (
	AgentAccount = "atoll-agent"
	// TunnelAccount carries people's calls, and nothing of the agent's own.
	TunnelAccount = "atoll-tunnel"
	// ProjectPrefix begins the names of the accounts under which projects'
	// objects are applied.
	ProjectPrefix = "atoll-project-"
	// InNamespacesSuffix ends the name of a project's role that is bound in its
	// namespaces, never in the whole cluster.
	InNamespacesSuffix = ":namespaced"
	// BootstrapSecret holds the Ticket.
	BootstrapSecret = "atoll-agent-bootstrap"
	// LimitsConfigMap is where the member forbids things; the hub cannot write it.
	LimitsConfigMap = "atoll-limits"
	// AgentContainer is the agent's container in its Deployment, AgentAccount.
	AgentContainer = "agent"
	// PodNameVariable and PodUIDVariable tell the agent which pod it runs in.
	PodNameVariable = "ATOLL_POD_NAME"
	PodUIDVariable  = "ATOLL_POD_UID"
	// BootstrapDir is where the agent finds the Ticket.
	BootstrapDir = "/etc/atoll"
)

var (
	look  = []string{"get", "list", "watch"}
	write = []string{"create", "update", "patch", "delete"}
	all   = []string{"*"}
)

func verbs(sets ...[]string) []string {
	var out []string
	for _, s := range sets {
		out = append(out, s...)
	}
	return out
}

// visibleCore is the core group without Secrets: RBAC cannot exclude, so the
// profile that must not read them lists what it may.
var visibleCore = []string{
	"configmaps", "endpoints", "events", "limitranges", "namespaces", "nodes", "persistentvolumeclaims",
	"persistentvolumes", "pods", "podtemplates", "replicationcontrollers", "resourcequotas", "serviceaccounts", "services",
}

// visibleGroups hold nothing secret.
var visibleGroups = []string{
	"admissionregistration.k8s.io", "apiextensions.k8s.io", "apiregistration.k8s.io", "apps", "autoscaling", "batch",
	"discovery.k8s.io", "events.k8s.io", "gateway.networking.k8s.io", "metrics.k8s.io", "networking.k8s.io",
	"node.k8s.io", "policy", "rbac.authorization.k8s.io", "scheduling.k8s.io", "storage.k8s.io",
}

// ClusterRules are the agent's rights in the whole member.
func ClusterRules(p v1alpha1.Profile) []rbacv1.PolicyRule {
	switch p {
	case v1alpha1.ProfileRead:
		return []rbacv1.PolicyRule{
			{APIGroups: []string{""}, Resources: visibleCore, Verbs: look},
			{APIGroups: visibleGroups, Resources: all, Verbs: look},
		}
	case v1alpha1.ProfileNamespaces:
		return []rbacv1.PolicyRule{
			// Whatever is delivered is watched for drift: kinds that are not
			// known yet, and Secrets.
			{APIGroups: all, Resources: all, Verbs: look},
			{APIGroups: []string{""}, Resources: []string{"namespaces"}, Verbs: write},
			// The agent gives each project's account its rights. It cannot give
			// itself more: the admission policy holds it to those accounts.
			{
				APIGroups: []string{rbacv1.GroupName},
				Resources: []string{"roles", "rolebindings", "clusterroles", "clusterrolebindings"},
				Verbs:     verbs(write, []string{"bind", "escalate"}),
			},
		}
	default:
		return []rbacv1.PolicyRule{{APIGroups: all, Resources: all, Verbs: all}, {NonResourceURLs: all, Verbs: all}}
	}
}

// SystemRules are the agent's rights in its own namespace: its identity, its
// store, the projects' accounts, a token for the tunnel, and the Deployment that
// runs it.
func SystemRules(p v1alpha1.Profile) []rbacv1.PolicyRule {
	rules := []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: verbs(look, write)},
		{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: look},
		{APIGroups: []string{"coordination.k8s.io"}, Resources: []string{"leases"}, Verbs: verbs(look, write)},
		{APIGroups: []string{""}, Resources: []string{"serviceaccounts/token"}, ResourceNames: []string{TunnelAccount}, Verbs: []string{"create"}},
	}
	rules = append(rules,
		rbacv1.PolicyRule{APIGroups: []string{"apps"}, Resources: []string{"deployments"}, ResourceNames: []string{AgentAccount}, Verbs: []string{"get", "patch"}},
		rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"get", "list"}},
	)
	if p == v1alpha1.ProfileRead {
		return rules // nothing is applied, so no project needs an account
	}
	return append(rules, rbacv1.PolicyRule{
		APIGroups: []string{""}, Resources: []string{"serviceaccounts"}, Verbs: verbs(look, write, []string{"impersonate"}),
	})
}

// TunnelRules let the tunnel speak as the person who calls. RBAC knows no
// prefixes: that names begin with "atoll:" and never with "system:" is
// enforced by the agent.
func TunnelRules() []rbacv1.PolicyRule {
	return []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"users", "groups"}, Verbs: []string{"impersonate"}}}
}
