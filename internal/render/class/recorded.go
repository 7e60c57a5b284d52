package class

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"

	"atoll.dev/atoll/api/v1alpha1"
)

// Of is what templates may ask about a cluster, told beside what it serves of
// others; false for one whose agent has not told what it serves yet.
func Of(c *v1alpha1.Cluster, others []string) (Capabilities, bool) {
	f := c.Status.Facts
	if f == nil || f.KubernetesVersion == "" {
		return Capabilities{}, false
	}
	return BuiltIn(f.KubernetesVersion, Served(f.APIGroups, others)), true
}

// Served is both, sorted, each once.
func Served(groups, others []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(slices.Concat(groups, others))))
}

// Recorded is what a render asked, with its answers, as an object holds it.
func Recorded(queries []Query) []v1alpha1.Answer {
	var all []v1alpha1.Answer
	for _, q := range queries {
		all = append(all, v1alpha1.Answer{What: q.What, Arg: q.Arg, Answer: short(q.Answer)})
	}
	return all
}

// Answers tells whether a cluster would have given all these answers.
func Answers(asked []v1alpha1.Answer, c Capabilities) bool {
	return !slices.ContainsFunc(asked, func(a v1alpha1.Answer) bool { return short(c.Answer(a.What, a.Arg)) != a.Answer })
}

// maxAnswer is how long an answer is recorded as it is; all that a cluster
// serves is some kilobytes.
const maxAnswer = 80

func short(answer string) string {
	if len(answer) <= maxAnswer {
		return answer
	}
	sum := sha256.Sum256([]byte(answer))
	return "sha256:" + hex.EncodeToString(sum[:])
}
