// Package oci keeps content in an OCI registry: below one repository path, a
// repository for each project, in it a tag, a manifest and a compressed layer
// for each content. The manifest keeps the layer from the registry's garbage
// collection, and says when the content was last put. What was read or written
// lately is also in a folder, up to a bound, so that a registry that is away is
// not missed at once. What is kept and for how long is its callers' decision.
package oci
