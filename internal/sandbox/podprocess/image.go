package podprocess

import (
	"regexp"

	corev1 "k8s.io/api/core/v1"
)

// ImagePattern matches the images that are run, in any registry: those whose
// repository is named atoll-agent. The stages of simulated pods refer to it
// too, so it has no characters that a string of jq would escape.
const ImagePattern = `(^|/)atoll-agent(:[^/@]*)?(@[^/]*)?$`

var ours = regexp.MustCompile(ImagePattern)

// tagOf is the tag of an image that is run. One without a tag has "latest",
// unless it is pinned by digest alone, which says nothing of a program here.
func tagOf(image string) (tag string, isOurs bool) {
	parts := ours.FindStringSubmatch(image)
	switch {
	case parts == nil:
		return "", false
	case len(parts[2]) > 1:
		return parts[2][1:], true
	case parts[3] != "":
		return "", true
	}
	return "latest", true
}

// Runs says whether a pod has a container that is run.
func Runs(pod *corev1.Pod) bool {
	for _, c := range pod.Spec.Containers {
		if _, isOurs := tagOf(c.Image); isOurs {
			return true
		}
	}
	return false
}
