// Package explain tells, for one application, each step from its source to its
// health on every cluster, names the first that is broken and says what to do.
// It is pure: whoever serves it gathers the Facts, and it only judges them. It
// decides nothing that the hub acts on; it reads what the deciding packages
// (placement, assign, observed) decided.
package explain

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Stage is one step of the chain, in this order.
type Stage string

// The stages. The first five are the application's, of which a freeze has the
// first and a rollout the last; the others are each cluster's.
const (
	Freeze    Stage = "Freeze"
	Source    Stage = "Source"
	Revision  Stage = "Revision"
	Placement Stage = "Placement"
	Rollout   Stage = "Rollout"
	Desired   Stage = "Desired"
	Delivery  Stage = "Delivery"
	Apply     Stage = "Apply"
	Health    Stage = "Health"
)

// Outcome is what became of a step.
type Outcome string

// The outcomes.
const (
	OK Outcome = "OK"
	// Waiting goes on by itself; nobody has to do anything yet.
	Waiting Outcome = "Waiting"
	// Broken needs a person, or a cluster to come back.
	Broken Outcome = "Broken"
	// Unknown cannot be told, mostly because an earlier step is broken.
	Unknown Outcome = "Unknown"
)

// Link is one step, judged.
type Link struct {
	Stage   Stage   `json:"stage"`
	Cluster string  `json:"cluster,omitempty"`
	Outcome Outcome `json:"outcome"`
	// Why is a sentence with what was observed.
	Why string `json:"why"`
	// Do is the command or edit that helps; empty when none is needed.
	Do string `json:"do,omitempty"`
	// AsOf is how old the observation is; zero when it is of this moment.
	AsOf time.Time `json:"asOf,omitzero"`
}

// ClusterChain is the part of the chain that one cluster has for itself.
type ClusterChain struct {
	Cluster string `json:"cluster"`
	Links   []Link `json:"links"`
}

// Chain is the whole answer.
type Chain struct {
	Project     string `json:"project"`
	Application string `json:"application"`
	Revision    string `json:"revision,omitempty"`
	// Links are the steps that all clusters share.
	Links []Link `json:"links"`
	// Clusters are sorted: those with the earliest trouble first, then by name.
	Clusters []ClusterChain `json:"clusters,omitempty"`
	// First is the first broken link; when none is broken, the first that is
	// not OK; nil when all is well.
	First *Link `json:"first,omitempty"`
	// Summary is one sentence: First's, or that all is well.
	Summary string `json:"summary"`
}

// Broken reports whether a link of the chain is broken.
func (c Chain) Broken() bool { return c.First != nil && c.First.Outcome == Broken }

// conclude finds the first trouble and sorts the clusters by theirs.
func (c *Chain) conclude() {
	slices.SortStableFunc(c.Clusters, func(a, b ClusterChain) int {
		if d := severity(a.Links) - severity(b.Links); d != 0 {
			return d
		}
		return strings.Compare(a.Cluster, b.Cluster)
	})
	c.First = c.first()
	c.Summary = c.summary()
}

func (c *Chain) first() *Link {
	shared := trouble(c.Links)
	if shared != nil && shared.Outcome == Broken {
		return shared
	}
	var first *Link
	if len(c.Clusters) > 0 {
		first = trouble(c.Clusters[0].Links)
	}
	if shared != nil && (first == nil || first.Outcome != Broken) {
		return shared
	}
	return first
}

// trouble is the first broken link, else the first that is not OK.
func trouble(links []Link) *Link {
	first := -1
	for i, l := range links {
		if l.Outcome == Broken {
			return &links[i]
		}
		if first < 0 && l.Outcome != OK {
			first = i
		}
	}
	if first < 0 {
		return nil
	}
	return &links[first]
}

// severity orders chains: a broken link before one that waits, and among equals
// the earlier stage.
func severity(links []Link) int {
	t := trouble(links)
	if t == nil {
		return 1000
	}
	rank := map[Outcome]int{Broken: 0, Unknown: 100, Waiting: 200}[t.Outcome]
	return rank + slices.IndexFunc(links, func(l Link) bool { return l.Stage == t.Stage })
}

func (c *Chain) summary() string {
	name := c.Project + "/" + c.Application
	if c.First == nil {
		return fmt.Sprintf("%s is in sync and healthy on %s", name, count(len(c.Clusters), "cluster"))
	}
	where := ""
	if c.First.Cluster != "" {
		where = " on " + c.First.Cluster
		if others := c.others(*c.First); others > 0 {
			where += fmt.Sprintf(" and %d more", others)
		}
	}
	verb := map[Outcome]string{Broken: "is broken at", Waiting: "waits at", Unknown: "cannot be told at"}[c.First.Outcome]
	return fmt.Sprintf("%s %s %s%s: %s", name, verb, c.First.Stage, where, c.First.Why)
}

// others counts further clusters whose trouble is at the same stage.
func (c *Chain) others(l Link) int {
	n := 0
	for _, cluster := range c.Clusters {
		if t := trouble(cluster.Links); t != nil && cluster.Cluster != l.Cluster && t.Stage == l.Stage && t.Outcome == l.Outcome {
			n++
		}
	}
	return n
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
