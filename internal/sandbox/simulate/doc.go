// Package simulate is a fleet far larger than the machine: a real hub in a
// process of its own, and in this one thousands of real agents, each over a
// member's API server in memory (sandbox/standin) and linked to the hub through
// its real port. It measures what a change costs and how long it takes.
package simulate
