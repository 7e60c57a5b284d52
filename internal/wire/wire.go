// Package wire defines what hub and agent say to each other and how it is
// framed. It is pure: encoding, limits and version negotiation. Connections
// are internal/link's, their meaning is internal/agent's and internal/gateway's.
//
// Rules that never change: field numbers are never reused, unknown fields are
// ignored, Hello, Welcome, Refusal and Upgrade are frozen as v0, and every message
// carries its Stamp.
package wire

import (
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/report"
)

// ALPN protocol names on the agents' port.
const (
	// ProtoLink is the multiplexed link; a verified client certificate is required.
	ProtoLink = "atoll/1"
	// ProtoRenew serves joining and renewal: the certificate is requested but
	// not verified by TLS, the caller proves its key by signing a challenge.
	ProtoRenew = "atoll-renew/1"
)

// Version is the newest content version this build speaks; MinVersion the
// oldest it still accepts.
const (
	Version    = 1
	MinVersion = 1
)

// Stamp orders messages and tells which hub spoke. Agents refuse a lower Term
// of the same Incarnation.
type Stamp struct {
	// Incarnation names the hub's history; a restore or rebuild makes a new one.
	Incarnation string `cbor:"1,keyasint"`
	// Term counts the leaders of an incarnation.
	Term uint64 `cbor:"2,keyasint"`
	// Seq counts the messages of one side on one connection, from 1.
	Seq uint64 `cbor:"3,keyasint"`
}

// Message is the envelope; exactly one body is set.
type Message struct {
	Stamp Stamp `cbor:"1,keyasint"`

	Hello     *Hello     `cbor:"2,keyasint,omitempty"`
	Welcome   *Welcome   `cbor:"3,keyasint,omitempty"`
	Refusal   *Refusal   `cbor:"4,keyasint,omitempty"`
	Heartbeat *Heartbeat `cbor:"5,keyasint,omitempty"`
	Desired   *Desired   `cbor:"6,keyasint,omitempty"`
	Want      *Want      `cbor:"7,keyasint,omitempty"`
	Content   *Content   `cbor:"8,keyasint,omitempty"`
	Report    *Report    `cbor:"9,keyasint,omitempty"`
	Resend    *Resend    `cbor:"10,keyasint,omitempty"`
	Upgrade   *Upgrade   `cbor:"11,keyasint,omitempty"`
}

// Hello opens a link, agent to hub (v0).
type Hello struct {
	Cluster      string `cbor:"1,keyasint"`
	AgentVersion string `cbor:"2,keyasint"`
	MinVersion   int    `cbor:"3,keyasint"`
	MaxVersion   int    `cbor:"4,keyasint"`
	// ClusterUID is the UID of kube-system: a certificate copied to another
	// cluster is refused.
	ClusterUID string `cbor:"5,keyasint"`
	// Instance tells two running copies of one agent apart.
	Instance string `cbor:"6,keyasint"`
	// Seen is the last Stamp the agent obeyed (Seq unset).
	Seen Stamp `cbor:"7,keyasint"`
	// Desired and Reported are the digests the agent holds.
	Desired  desired.Digest `cbor:"8,keyasint,omitempty"`
	Reported desired.Digest `cbor:"9,keyasint,omitempty"`
	// Standby: another agent of the member acts; this one waits for its turn and
	// is linked to show that it could take it. It gets heartbeats and nothing else.
	Standby bool `cbor:"10,keyasint,omitempty"`
}

// Welcome accepts a link, hub to agent (v0).
type Welcome struct {
	Version int `cbor:"1,keyasint"`
	// HeartbeatMillis is the period of heartbeats both ways.
	HeartbeatMillis int64  `cbor:"2,keyasint"`
	HubVersion      string `cbor:"3,keyasint"`
	// Now is the hub's clock, Unix milliseconds.
	Now int64 `cbor:"4,keyasint"`
	// Accepted, when it equals Stamp.Incarnation, is a person's word that this
	// hub may be followed although the agent knows a different incarnation.
	Accepted string `cbor:"5,keyasint,omitempty"`
}

// Refusal ends a link, hub to agent (v0).
type Refusal struct {
	// Reason is CamelCase: Revoked, NotAccepted, WrongCluster, Duplicate,
	// VersionSkew, NotLeader, Busy.
	Reason  string `cbor:"1,keyasint"`
	Message string `cbor:"2,keyasint"`
	// RetryAfterMillis is 0 when retrying without a change is useless.
	RetryAfterMillis int64 `cbor:"3,keyasint,omitempty"`
}

// Upgrade names the image that the agent should run, hub to agent (v0). It may
// come before a Welcome or a Refusal too, so that an agent too old to be led can
// still be brought up.
type Upgrade struct {
	Image string `cbor:"1,keyasint"`
	// Attempt tells this wish from an earlier one for the same image.
	Attempt string `cbor:"2,keyasint,omitempty"`
}

// Heartbeat goes both ways. When both digests match, nothing more is said.
type Heartbeat struct {
	// Desired is what the hub wants (hub) or the agent has (agent).
	Desired desired.Digest `cbor:"1,keyasint,omitempty"`
	// Reported is what the agent has said (agent) or the hub holds (hub).
	Reported desired.Digest `cbor:"2,keyasint,omitempty"`
	// At is the sender's clock, Unix milliseconds.
	At int64 `cbor:"3,keyasint"`
}

// Desired carries a change of the cluster's root, hub to agent.
type Desired struct {
	Delta desired.Delta `cbor:"1,keyasint"`
	// Contents are small ones that the change brings, each whole: to ask for
	// them would take longer than to send them. Whoever ignores them asks.
	Contents []*Content `cbor:"2,keyasint,omitempty"`
}

// Want asks for contents that the agent lacks, agent to hub. The hub answers
// only for contents in this cluster's own root.
type Want struct {
	Contents []desired.Digest `cbor:"1,keyasint"`
}

// Content is one piece of a content, hub to agent, in order.
type Content struct {
	Digest desired.Digest `cbor:"1,keyasint"`
	// Size is the whole size; pieces are at most MaxPiece.
	Size   int64  `cbor:"2,keyasint"`
	Offset int64  `cbor:"3,keyasint"`
	Data   []byte `cbor:"4,keyasint,omitempty"`
	// Values are the secret values that the content refers to, sealed to this
	// agent's key; they come with any of the pieces, the last one at the latest.
	Values []SealedValue `cbor:"5,keyasint,omitempty"`
	// Missing says why the hub cannot deliver it.
	Missing string `cbor:"6,keyasint,omitempty"`
}

// SealedValue is one value, readable only by the agent it was sealed to.
type SealedValue struct {
	// Ref is the keyed HMAC that stands in the content.
	Ref    string `cbor:"1,keyasint"`
	Sealed []byte `cbor:"2,keyasint"`
}

// Report carries a change of the cluster's state, agent to hub.
type Report struct {
	Report report.Report `cbor:"1,keyasint"`
}

// Resend asks the other side to say the whole of something again: its digest
// did not match after applying a change.
type Resend struct {
	Desired bool `cbor:"1,keyasint,omitempty"`
	Report  bool `cbor:"2,keyasint,omitempty"`
}

// Limits of the link, in bytes.
const (
	MaxFrame = 8 << 20
	MaxPiece = 512 << 10
)
