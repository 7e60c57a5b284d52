// Package link carries the one connection between a cluster's agent and the
// hub: TLS 1.3 dialled by the agent, through an HTTP proxy where there is one,
// multiplexed into a control stream of wire messages and streams that the hub
// opens towards the member's API.
//
// It decides who may connect only as far as certificates go and how much of
// the hub one connection may use; who a certificate belongs to is
// internal/trust's, what messages mean is internal/gateway's and
// internal/agent's. It never lets a slow or hostile peer block the other side:
// every write has a deadline, and missing it ends the session.
package link
