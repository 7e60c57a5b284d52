// Package testfleet runs the product as users run it, for system tests: a hub
// and agents as child processes, real member clusters from internal/sandbox,
// and the command line between them. Agents work under the account that
// `atoll join -o yaml` installs, so that the documented rights are what is
// proven. Faults are methods: Kill, Stop, Freeze, Start.
//
// It decides nothing about what is right; the tests assert that. Everything it
// starts dies with the test process, even by SIGKILL.
package testfleet
