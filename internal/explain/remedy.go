package explain

import (
	"slices"

	"atoll.dev/atoll/internal/report"
)

func has(problems []report.Problem, reason string) bool {
	return slices.ContainsFunc(problems, func(p report.Problem) bool { return p.Reason == reason })
}

// problem is the first of that reason, or an empty one.
func problem(problems []report.Problem, reason string) report.Problem {
	for _, p := range problems {
		if p.Reason == reason {
			return p
		}
	}
	return report.Problem{}
}

// remedy is what a person does about a problem that an agent reports. target
// is "app/X -C CLUSTER --project P".
func (f Facts) remedy(reason, target string) string {
	redeploy := f.deploy()
	switch reason {
	case "DeletionHeld":
		return "look at the list, then allow just that: atoll allow-deletion " + f.ref() + f.project()
	case "Conflict":
		return "take the field over with spec.adopt: true, leave it to its owner with spec.drift.ignore, or take it out and " + redeploy
	case "OwnedBy":
		return "take the object out of one of the two applications, then deploy that one; from Argo CD or Flux it is taken over: docs/MOVING.md"
	case "Forbidden":
		return "the cluster's own RBAC or limits refuse it: grant ServiceAccount atoll-project-" + f.Application.Namespace +
			" in atoll-system of the member what it lacks, or take the object out and " + redeploy
	case "PolicyRefused":
		return "take the object out and " + redeploy + ", or let an admin widen spec.namespaces or spec.kinds of project " + f.Application.Namespace
	case "NoKind":
		return "install the kind (its CustomResourceDefinition) in the cluster; the agent then goes on by itself"
	case "Invalid":
		return "mend the manifest, then: " + redeploy + "; where only a new object can be so, have it deleted and made anew: atoll sync " + f.ref() + f.project() + " --force"
	case "TooLarge":
		return "mend the manifest, then: " + redeploy
	case "ContentMissing":
		return "store the content again: " + redeploy
	case "StoreFull":
		return "the member cannot store more: free its etcd or the quota of atoll-system, or make the application smaller"
	case "HubOlderThanAgent":
		return "accept this hub's history: atoll accept CLUSTER --incarnation"
	case "HookFailed":
		return "see what its pods say: atoll events " + f.ref() + f.project() + "; a hook runs once for each content, so mend it and " + redeploy
	case "Unhealthy":
		return "see what its pods say: atoll tree " + target + ", atoll events " + f.ref() + f.project()
	default:
		if f.Application.Spec.Sync != nil {
			return "see each object with atoll tree " + target + "; it is tried again as spec.sync.retry says, and now with: atoll sync " + f.ref() + f.project()
		}
		return "the agent tries again by itself; see each object with atoll tree " + target
	}
}
