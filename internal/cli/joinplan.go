package cli

import (
	"fmt"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/join"
)

// stage is how far a cluster is on its way under the hub.
type stage int

// The stages, in order.
const (
	stageNew     stage = iota // the hub does not know it
	stageInstall              // registered, and no agent has enrolled
	stageAccept               // its agent has enrolled
	stageConnect              // accepted, and not connected now
	stageJoined               // connected
)

// foreseen says in words what joining it would do.
var foreseen = map[stage]string{
	stageNew:     "would be registered, installed and accepted",
	stageInstall: "is registered; its agent would be installed and accepted",
	stageAccept:  "its agent would be accepted",
	stageConnect: "joined already; its agent is not connected",
	stageJoined:  "joined already",
}

// memberFacts are a cluster as seen through its context.
type memberFacts struct {
	uid string
	// installed is what its agent was told to join, nil when there is none.
	installed *join.Ticket
}

// standing finds how far the member of a context is, and as which Cluster. It
// refuses what must not become this cluster: another agent would be let in, or
// another hub's agent robbed of its member.
func standing(at join.Choice, m memberFacts, known []v1alpha1.Cluster) (stage, *v1alpha1.Cluster, error) {
	var named *v1alpha1.Cluster
	for i := range known {
		c := &known[i]
		if c.Status.Identity != nil && c.Status.Identity.ClusterUID == m.uid {
			return stageOf(c), c, nil
		}
		if c.Name == at.Cluster {
			named = c
		}
	}
	switch {
	case named != nil && named.Spec.Direct != nil:
		return 0, nil, fmt.Errorf("cluster %s is reached by a kubeconfig and has no agent of its own", at.Cluster)
	case named != nil && named.Status.Identity != nil:
		return 0, nil, fmt.Errorf("the name %s is taken: another Kubernetes cluster (UID %s) has joined under it; use --name-template", at.Cluster, named.Status.Identity.ClusterUID)
	case m.installed != nil && (named == nil || m.installed.Cluster != at.Cluster):
		return 0, nil, fmt.Errorf("an agent is installed there already, as %s of the hub at %s; when that is over: kubectl --context %s delete namespace %s",
			m.installed.Cluster, m.installed.Address, at.Context, systemNamespace)
	case named != nil:
		return stageInstall, named, nil
	default:
		return stageNew, nil, nil
	}
}

func stageOf(c *v1alpha1.Cluster) stage {
	switch {
	case !c.Spec.Accepted:
		return stageAccept
	case c.Status.Connection.State != v1alpha1.Connected:
		return stageConnect
	default:
		return stageJoined
	}
}

// enrolledElsewhere refuses an agent that is not in the cluster which the
// context reaches: whoever holds the token enrolled something else.
func enrolledElsewhere(at join.Choice, c *v1alpha1.Cluster, uid string) error {
	if id := c.Status.Identity; id != nil && id.ClusterUID != uid {
		return fmt.Errorf("the agent that enrolled as %s is in another Kubernetes cluster (UID %s) than context %s reaches (UID %s); it is not accepted: atoll remove %s",
			c.Name, id.ClusterUID, at.Context, uid, c.Name)
	}
	return nil
}
