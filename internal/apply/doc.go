// Package apply keeps one member as its Root says: it delivers, watches,
// corrects, prunes and reports. It is the only package that writes a member's
// workloads, and it works the same whether the hub is there or not.
//
// It decides the order of work and carries it out. What is drift is
// internal/drift's, what a project may own internal/policy's, what is healthy
// internal/health's decision; where the Root comes from and where inventories
// are kept across restarts is the agent's business.
//
// Every object goes through one server-side apply as field manager
// "atoll/PROJECT/APPLICATION"; unprivileged projects by impersonating their own
// ServiceAccount. The one thing it adds to an object is the label
// applyset.kubernetes.io/part-of, by which its watches find just its own.
package apply
