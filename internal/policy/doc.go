// Package policy decides whether rendered objects stay within what a project
// may own in a member, and which rights the member gives the project's
// ServiceAccount so that its own RBAC decides the same again.
//
// It is pure and the hub and the agent call the very same Check: the hub on
// rendered output, the agent after late binding, when every name is final.
// Whether a kind is namespaced comes in as a function, for only the member
// knows its custom kinds. Limits that the member itself sets are the engine's.
package policy
