package trust

import (
	"context"
	"time"
)

// Registry is where the hub records who has enrolled. Its methods must be safe
// for concurrent use, and each write must be atomic against the others for one
// cluster: a token is consumed once even when two agents come at once. A
// *Refused that it returns is told to the agent; of any other error the agent
// hears only that the hub is busy.
type Registry interface {
	// Lookup returns what is known of a cluster; a cluster that does not exist
	// is no error.
	Lookup(ctx context.Context, cluster string) (Enrolment, error)
	// Token is the cluster's newest join token, nil when there is none. It is
	// apart from Lookup because every link asks for that.
	Token(ctx context.Context, cluster string) (*TokenRecord, error)
	// ByClusterUID names the cluster enrolled with this kube-system UID, "" if none is.
	ByClusterUID(ctx context.Context, uid string) (string, error)
	// ConsumeToken marks the token with this hash as used by the key. It
	// returns a TokenUsed *Refused when another key used it first, and nil
	// when the same key did.
	ConsumeToken(ctx context.Context, cluster, hash, fingerprint string, at time.Time) error
	// SaveIdentity records a joined agent, replacing the one before.
	SaveIdentity(ctx context.Context, cluster string, id Enrolled) error
	// Renewed records what a renewal brought. It must leave the keys alone: a
	// rotation may be finished at the same time.
	Renewed(ctx context.Context, cluster string, r Renewal) error
	// SetPending records a rotated key that was certified and not yet used,
	// and the end of its certificate.
	SetPending(ctx context.Context, cluster, fingerprint string, expires time.Time) error
	// Promote makes the pending key the enrolled one. Promoting a key that is
	// enrolled already is no error.
	Promote(ctx context.Context, cluster, fingerprint string) error
}

// Enrolment is what the hub knows of one cluster.
type Enrolment struct {
	// Exists: there is a Cluster of this name.
	Exists bool
	// Accepted is the hub's half of the double opt-in.
	Accepted bool
	// Identity is the enrolled agent, nil before one has joined.
	Identity *Enrolled
}

// unclaimed tells that no agent is known by the name.
func (e Enrolment) unclaimed() bool { return !e.Exists || e.Identity == nil }

// Enrolled is what the hub pins of an agent.
type Enrolled struct {
	// ClusterUID is the UID of the member's kube-system namespace.
	ClusterUID string
	// Fingerprint and Pending are hex SHA-256 of public keys (PKIX DER).
	Fingerprint string
	Pending     string
	// SealingKey is the agent's public key for sealed secret values.
	SealingKey   string
	AgentVersion string
	// Expires is the end of the last certificate signed; zero before the first.
	Expires time.Time
}

// Renewal is what the hub learns when it signs a certificate.
type Renewal struct {
	SealingKey   string
	AgentVersion string
	// Expires is the end of the certificate.
	Expires time.Time
}

// knows tells whether fingerprint is the enrolled or the pending key.
func (e *Enrolled) knows(fingerprint string) bool {
	return fingerprint != "" && (fingerprint == e.Fingerprint || fingerprint == e.Pending)
}
