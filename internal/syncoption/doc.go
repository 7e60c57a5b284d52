// Package syncoption reads what a manifest says of how its own object is kept: that
// it stays when it is no longer asked for, and which of its fields are for others
// to change.
//
// It understands our annotations and those by which Argo CD, Helm and Flux say the
// same, and tells which of Argo CD's sync options have no counterpart. What stays is
// recorded and carried out by internal/apply; the order of a delivery is
// internal/phase's.
package syncoption
