// Package apiserver runs the hub's own Kubernetes API in this process: an
// embedded etcd (or someone's external one), the generic control plane with
// custom resources, RBAC and admission, and the four controllers without which
// that control plane only looks like Kubernetes: namespace deletion, garbage
// collection, resource quotas and aggregated cluster roles.
//
// Where a Kubernetes cluster of someone else's is the store (Host), that cluster
// is the control plane, and this package gives it what it lacks: admission, as a
// webhook, and the APIs that handlers answer, by its aggregator.
//
// It decides how the API is stored, encrypted at rest, served, authenticated
// and stopped. Which custom resources exist, what makes one of them valid, what
// other handlers answer and which hub is the leader is its caller's business.
// It knows nothing of clusters, agents or applications.
package apiserver
