// Package placement decides on which clusters an application runs and says of
// every cluster of the fleet why it was chosen or not. It is pure: clusters,
// project and the previous choice come in, a Decision goes out. Gathering them,
// recording the choice and withdrawing what left belong to the controllers.
//
// A cluster is tried against fixed filters in a fixed order: admission to the
// fleet, the project's bounds, residency, then the rule itself, then taints and
// cordons. What survives is cut down to the rule's count so that clusters
// chosen before stay. Whether a cluster is connected only orders new choices:
// losing contact never takes an application away.
package placement
