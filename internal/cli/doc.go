// Package cli is the `atoll` command line: one cobra command per verb, with
// kubectl's conventions. It decides how answers look and how a person is asked;
// what is true it leaves to the hub, which it asks through the Kubernetes API
// (objects of atoll.dev) and the fleet API (what the hub knows of many clusters).
//
// Data goes to stdout, words to stderr. Exit codes: 0 yes, 1 a negative answer
// (differences, not in time), 2 wrong use or a failure, 3 an answer from only a
// part of the fleet, whose silent clusters are named on stderr.
//
// The package never imports the hub, so that it links in a moment; cmd/atoll
// adds that verb.
package cli
