// Package sandbox runs real Kubernetes clusters on one Linux machine, without
// containers: etcd, kube-apiserver, kube-controller-manager and kube-scheduler
// are child processes of one multi-call binary, and KWOK plays the kubelets.
//
// It decides where a cluster's files, ports, certificates and address ranges
// lie, starts and ends the processes, and knows when a cluster is ready. It
// links no Kubernetes server code, so that a test which imports it stays quick
// to build: the servers live in package component, which only
// cmd/atoll-sandbox links. How pods, nodes and volumes behave is decided there.
package sandbox
