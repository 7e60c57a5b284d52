// Package trust decides who an agent is. It holds the agents' certificate
// authority and its announced successors, one-time join tokens, and the frozen
// v0 protocol by which an agent joins, renews and rotates its key; both sides
// of it are here.
//
// An agent is its key, not its certificate: the hub pins the fingerprint when
// the agent joins, and a certificate that the authority signed opens nothing
// when the Registry no longer knows its key. That is how revocation works,
// without lists, and why a stolen authority alone impersonates no agent.
//
// Where clusters are recorded (Registry), where an agent keeps its key
// (KeyStore) and how requests travel are left to others.
package trust
