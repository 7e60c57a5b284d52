package component

import (
	"strings"

	"atoll.dev/atoll/internal/sandbox/podprocess"
)

// The tags that decide a container's fate, for want of anything that runs.
// An image may be pinned by digest after its tag.
const (
	jqBroken = `test(":broken(@|$)")`
	jqFail   = `test(":fail(@|$)")`
	jqSlow   = `test(":slow(@|$)")`
)

// fates are the jq expressions that the stage files refer to as @NAME@. Of
// CRASHES, FAILS and COMPLETES at most one is true of a pod.
var fates = map[string]string{
	// Pods that are run here are played to no further than their containers' turn.
	"RUNS": `[.spec.containers[].image | test("` + podprocess.ImagePattern + `")] | any`,
	// A kubelet restarts what exits unless told never to; a failed Job pod
	// fails, whatever its restart policy, so that one tag means one outcome.
	"CRASHES":       `.spec.restartPolicy as $policy | [.spec.containers[].image | (` + jqBroken + ` and $policy != "Never") or (` + jqFail + ` and $policy == "Always")] | any`,
	"FAILS":         `.spec.restartPolicy as $policy | $policy != "Always" and ([.spec.containers[].image | ` + jqBroken + ` and $policy != "Never"] | any | not) and ([.spec.containers[].image | ` + jqFail + ` or ` + jqBroken + `] | any)`,
	"COMPLETES":     `.spec.restartPolicy != "Always" and ([.spec.containers[].image | ` + jqFail + ` or ` + jqBroken + `] | any | not)`,
	"SERVES_SLOWLY": `.spec.restartPolicy == "Always" and ([.spec.containers[].image | ` + jqSlow + `] | any)`,
	"SLOW":          jqSlow,
	"INIT_FAILS":    `[.spec.initContainers[]?.image | ` + jqBroken + ` or ` + jqFail + `] | any`,
	// An absolute time: a delay would begin anew with every change of the pod.
	"TEN_SECONDS_IN": `((.status.startTime | fromdateiso8601) + 10 | todateiso8601)`,
	// The kubelet's doubling, from two seconds instead of ten, up to a minute.
	"BACK_OFF": `((max // 0) as $n | if $n == 0 then "200ms" elif $n > 4 then "60s" else "\(pow(2; $n))s" end)`,
}

func expandFates(stage []byte) []byte {
	var pairs []string
	for name, expression := range fates {
		pairs = append(pairs, "@"+name+"@", expression)
	}
	return []byte(strings.NewReplacer(pairs...).Replace(string(stage)))
}
