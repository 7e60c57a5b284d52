// Package version is what this build calls itself; the linker sets it.
package version

// Version is a semantic version; "dev" in a build without one.
var Version = "dev"

// ImageRepository is where this build's images were pushed, such as
// registry.example.org/atoll. Without one, images go by their bare names, and
// the nodes must have them, or "atoll join --image" says where they are.
var ImageRepository = ""

// AgentImage is the image of the agent that belongs to this build.
func AgentImage() string {
	name := "atoll-agent:" + Version
	if ImageRepository == "" {
		return name
	}
	return ImageRepository + "/" + name
}
