// Package edge is the network between one cluster and everything outside it:
// a forward to the cluster's API server for what comes in, and an HTTP CONNECT
// proxy for what dials out, above all the agent to its hub.
//
// It decides what a partition, a reset and a slow line do to connections. It
// never looks into them, so TLS stays end to end. Which fault is in force, and
// for how long, is left to package sandbox.
package edge
