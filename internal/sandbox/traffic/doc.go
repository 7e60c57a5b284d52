// Package traffic is what answers in a sandbox cluster: the simulated pods'
// servers, and the load balancers in front of them. It decides where on
// loopback each listens, for how long, and what a pod says. Which pods are
// ready and which Services have which endpoints is left to package component,
// which tells it what it knows of the cluster; nothing here asks the API, so
// traffic flows on while that is dead.
//
// A pod at 10.a.b.c is listened for at 127.a.b.c: Kubernetes refuses loopback
// addresses as endpoints, and nothing but loopback needs no setting up.
package traffic
