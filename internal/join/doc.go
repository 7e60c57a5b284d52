// Package join decides what is installed in a member so that its agent can join
// the hub: the namespace, the accounts, their RBAC by profile and the agent
// itself. It is pure: `atoll join --explain` shows people the very objects that
// `atoll join -o yaml` prints, before anything is registered.
//
// The token and the trust behind it are internal/trust's; what the agent does
// with its rights is internal/apply's.
package join
