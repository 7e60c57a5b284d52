// Package podprocess runs pods of a sandbox cluster as processes of this
// machine: those whose image is Atoll's own agent, and no others. It decides
// which program an image is, what such a pod finds in its files and its
// environment, when it is restarted, and what its status says.
//
// It isolates nothing: a pod is a process of whoever runs the sandbox, without
// the limits, the user and the network of its spec. Which nodes and addresses
// there are, and every other pod, are left to package component.
package podprocess
