package wire

import "fmt"

// MaxSkew is how many content versions hub and agent may be apart. A minor
// release raises Version by at most one, so it is also a number of minors.
const MaxSkew = 3

// SkewError is a pair of builds that cannot talk.
type SkewError struct {
	// UpgradeAgent tells that the agent is the older side, else the hub is.
	UpgradeAgent bool
	reason       string
}

// Error says what each side speaks and which to upgrade.
func (e *SkewError) Error() string { return e.reason }

// Negotiate picks the newest content version that this hub and an agent
// speaking oldest to newest have in common, or returns a *SkewError.
func Negotiate(oldest, newest int) (int, error) {
	return versions{MinVersion, Version}.negotiate(versions{oldest, newest})
}

type versions struct{ oldest, newest int }

func (v versions) String() string {
	if v.oldest == v.newest {
		return fmt.Sprintf("version %d", v.newest)
	}
	return fmt.Sprintf("versions %d to %d", v.oldest, v.newest)
}

func (hub versions) negotiate(agent versions) (int, error) {
	switch {
	case agent.oldest > agent.newest || agent.oldest < 1:
		return 0, &SkewError{UpgradeAgent: true, reason: fmt.Sprintf("the agent's versions %d to %d are no range: upgrade the agent", agent.oldest, agent.newest)}
	case agent.newest < max(hub.oldest, hub.newest-MaxSkew):
		return 0, &SkewError{UpgradeAgent: true, reason: fmt.Sprintf("the agent speaks %s, this hub %s: upgrade the agent", agent, hub.within())}
	case hub.newest < max(agent.oldest, agent.newest-MaxSkew):
		return 0, &SkewError{reason: fmt.Sprintf("the agent speaks %s, this hub %s: upgrade the hub", agent.within(), hub)}
	}
	return min(hub.newest, agent.newest), nil
}

// within leaves out what MaxSkew forbids anyway, so that the sentence shows
// what is really accepted.
func (v versions) within() versions {
	return versions{max(v.oldest, v.newest-MaxSkew), v.newest}
}
