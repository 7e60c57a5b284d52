// Package realnode is one node of a sandbox cluster that runs containers: the
// kubelet, kube-proxy and containerd as upstream builds them, with Debian's runc
// and CNI plugins, in a process tree, mounts and a network of their own.
//
// It decides how they are configured and what of the machine they see. The node
// is process 1 of its own process namespace, so whatever ends it ends all of its
// containers, and the kernel takes mounts and network back with the last of
// them. What outlasts it are its cgroups, which are found by the cluster's
// directory, and that directory.
//
// Nothing leads from the node's network to the machine's but relays in this
// process: from the node to the API server, from pods to loopback of the machine
// by way of the cluster's edge, and from the API server to kubelet and pods.
//
// Where the cluster's files lie and when the node starts is left to package
// sandbox; this package imports nothing of Kubernetes.
package realnode
