// Package upgrade decides in which order clusters get another agent, and which
// of them can. It changes nothing: the command that asks does, and each agent
// looks after its own successor.
package upgrade

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"atoll.dev/atoll/api/v1alpha1"
)

// Step is how far a wave goes: a number of clusters, or a share of all.
type Step struct {
	Count   int
	Percent int // used when Count is 0
}

// ParseSteps reads "1,10%,100%". A step that reaches no further than the one
// before makes no wave.
func ParseSteps(text string) ([]Step, error) {
	var steps []Step
	for word := range strings.SplitSeq(text, ",") {
		word = strings.TrimSpace(word)
		number, isShare := strings.CutSuffix(word, "%")
		n, err := strconv.Atoi(number)
		if err != nil || n < 1 || isShare && n > 100 {
			return nil, fmt.Errorf("%q is no wave: give numbers of clusters and shares, such as 1,10%%,100%%", word)
		}
		if isShare {
			steps = append(steps, Step{Percent: n})
		} else {
			steps = append(steps, Step{Count: n})
		}
	}
	return steps, nil
}

// reach is how many of all clusters are done after the step; a share is rounded
// up, so that even the smallest moves.
func (s Step) reach(all int) int {
	if s.Count > 0 {
		return min(s.Count, all)
	}
	return (all*s.Percent + 99) / 100
}

// Skip is a cluster that is left as it is, and why.
type Skip struct{ Cluster, Why string }

// Plan is what an upgrade would do.
type Plan struct {
	// Waves are names of clusters; the next begins when all of one are done.
	Waves [][]string
	// Done run the image already.
	Done []string
	// Skipped cannot be upgraded now, Left are beyond the last step.
	Skipped []Skip
	Left    []string
}

// Make plans for clusters in the order of their names. What runs the image
// counts for the steps, so that doing it again goes on where it was.
func Make(clusters []v1alpha1.Cluster, image func(v1alpha1.Cluster) string, steps []Step) Plan {
	var p Plan
	var todo []string
	clusters = slices.SortedFunc(slices.Values(clusters), func(a, b v1alpha1.Cluster) int { return strings.Compare(a.Name, b.Name) })
	for _, c := range clusters {
		switch why := obstacle(c); {
		case why != "":
			p.Skipped = append(p.Skipped, Skip{c.Name, why})
		case c.Status.Facts.Agent.Image == image(c):
			p.Done = append(p.Done, c.Name)
		default:
			todo = append(todo, c.Name)
		}
	}
	all, reached := len(p.Done)+len(todo), len(p.Done)
	for _, s := range steps {
		if n := s.reach(all) - reached; n > 0 {
			p.Waves = append(p.Waves, todo[:n])
			todo, reached = todo[n:], reached+n
		}
	}
	p.Left = todo
	return p
}

// obstacle is why a cluster's agent cannot be upgraded now, or "".
func obstacle(c v1alpha1.Cluster) string {
	facts := c.Status.Facts
	switch {
	case c.Spec.Direct != nil:
		return "the hub itself runs its agent: upgrade the hub"
	case c.Status.Connection.State != v1alpha1.Connected:
		return "not connected; run this again when it is"
	case facts == nil || facts.Agent == nil:
		return "its agent has not said yet which image it runs"
	case facts.Agent.Image == "":
		return "its agent is not run by a Deployment: upgrade it where it is started"
	}
	return ""
}

// Retag is an image with another tag, without the digest that pinned the former.
func Retag(image, version string) string {
	image, _, _ = strings.Cut(image, "@")
	if colon := strings.LastIndexByte(image, ':'); colon > strings.LastIndexByte(image, '/') {
		image = image[:colon]
	}
	return image + ":" + version
}
