// Package plan says what a change of one application would do before it is
// made: from the entries that each cluster has and would get it tells, object
// by object and field by field, what would be created, changed, deleted and let
// go, with the clusters of the same change together.
//
// What the entries are is decided by the hub's own functions (internal/assign,
// internal/rollout); this package compares them. It is pure: internal/server
// gathers its Input. What only a member knows, such as objects that are there
// already, is not in a plan before somebody who asked the member has it Meet the
// live object; Deletions counts what the hub delivers, not what an agent recorded.
package plan
