package join

import (
	"strings"

	"atoll.dev/atoll/api/v1alpha1"
)

// Explain tells in words what the agent may do in the member.
func Explain(p v1alpha1.Profile) string {
	return strings.TrimLeft(profiles[p], "\n") + strings.TrimLeft(always, "\n")
}

var profiles = map[v1alpha1.Profile]string{
	v1alpha1.ProfileRead: `
Profile read: the agent sees, and changes nothing.
  - It reads all objects of built-in kinds except Secrets, and other kinds as far
    as the member's own role "view" shows them.
  - Nothing can be delivered to this cluster.
`,
	v1alpha1.ProfileNamespaces: `
Profile namespaces: the agent delivers inside namespaces.
  - It reads every object, Secrets included: what it delivers it watches.
  - It creates and deletes namespaces, except kube-* and its own.
  - It writes objects only as the account of their project (atoll-project-NAME),
    whose rights it sets to namespaced kinds in that project's namespaces.
  - It may give rights to those accounts and to nobody else: an admission policy
    in this cluster (Kubernetes 1.30 or newer) refuses wildcards, RBAC,
    subresources and system namespaces, and any other account.
`,
	v1alpha1.ProfileFull: `
Profile full: the agent may do everything, like a cluster administrator.
  - Objects of ordinary projects are still written as the account of their project
    (atoll-project-NAME), with rights to that project's namespaces only.
  - Its own account is used for projects that an administrator of the hub made
    privileged: cluster-scoped kinds, RBAC, baselines.
`,
}

const always = `
In every profile:
  - The agent dials out to the hub; nobody dials in. The one port it opens, 8080 of
    its pod, says to the pod's probes whether it is well, and nothing else.
  - Its key is made in this cluster and never leaves it. It keeps its store in the
    namespace atoll-system.
  - People who reach this cluster through the hub do so under their own name with
    the prefix "atoll:", and may do what you grant to that name; "system:" names
    are refused. The account atoll-tunnel may impersonate users and groups for
    this. RBAC knows no prefixes, so it is the agent that enforces them.
  - The ConfigMap atoll-system/atoll-limits, which the hub cannot write, forbids
    more: forbidKinds, forbidNamespaces, forbidDeletions, forbidExec, forbidLogs,
    forbidTunnel, forbidUpgrades.
  - Who may upgrade agents at the hub names the image this cluster's agent runs. The
    agent changes its own Deployment, which is all it may change there, and puts the
    former image back when the new one does not take over.
`
