// Package version is what this build calls itself; the linker sets it.
package version

// Version is a semantic version; "dev" in a build without one.
var Version = "dev"
