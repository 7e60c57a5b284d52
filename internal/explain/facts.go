package explain

import (
	"fmt"
	"slices"
	"time"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/observed"
	"atoll.dev/atoll/internal/placement"
	"atoll.dev/atoll/internal/rollout"
	"atoll.dev/atoll/internal/source"
)

// Facts is everything that a Chain is made from.
type Facts struct {
	// Now ages the observations.
	Now         time.Time
	Application *v1alpha1.Application
	// Project is nil when it does not exist.
	Project *v1alpha1.Project
	// Revision is the one being delivered; nil when none was ever admitted.
	Revision *v1alpha1.Revision
	// Stored tells that the hub has the Revision's content and can read it;
	// StoreErr says why not.
	Stored   bool
	StoreErr string
	Decision placement.Decision
	// Frozen is the freeze in force; nil without one.
	Frozen *rollout.Frozen
	// Run is the rollout by which the revision travels; nil without one.
	Run *v1alpha1.RolloutRun
	// Clusters are those that the application is placed on or leaving.
	Clusters []Cluster
	// Only, when set, narrows the answer to that cluster.
	Only string
}

// Cluster is what is known of the application on one cluster.
type Cluster struct {
	observed.Member
	// Entry is what the hub asks of the cluster; nil when it asks nothing.
	Entry *desired.Entry
	// Confirmed tells that the agent holds the cluster's whole desired state.
	Confirmed bool
	// Heard is when the agent last said anything; zero when never.
	Heard time.Time
	// Accepted and Joined are the two halves of the cluster's enrolment.
	Accepted, Joined bool
	// Elsewhere are applications that the entry depends on and the cluster is not
	// asked to run.
	Elsewhere []string
	// Refusal is the reason the hub last turned the agent away, if it did.
	Refusal string
}

// Explain judges the facts.
func Explain(f Facts) Chain {
	app := f.Application
	c := Chain{
		Project:     app.Namespace,
		Application: app.Name,
		Revision:    app.Status.Revision,
		Links:       []Link{f.source(), f.revision(), f.placement()},
	}
	if f.Frozen != nil {
		c.Links = slices.Insert(c.Links, 0, f.freeze())
	}
	switch {
	case f.Run != nil:
		c.Links = append(c.Links, f.rollout())
	case app.Spec.Rollout == nil && len(f.Clusters) > 1:
		c.Links = append(c.Links, f.atOnce())
	}
	for _, cluster := range f.Clusters {
		if f.Only != "" && cluster.Cluster != f.Only {
			continue
		}
		links := member{f, cluster}.links()
		for i := range links {
			links[i].Cluster = cluster.Cluster
		}
		c.Clusters = append(c.Clusters, ClusterChain{Cluster: cluster.Cluster, Links: links})
	}
	c.conclude()
	return c
}

// ref and project complete a command for this application.
func (f Facts) ref() string     { return "app/" + f.Application.Name }
func (f Facts) project() string { return " --project " + f.Application.Namespace }

func (f Facts) deploy() string {
	if follow := source.Followed(f.Application.Spec.Source); follow != nil {
		if follow.Kind == source.Git {
			return "commit that to " + follow.URL
		}
		return "publish that at " + follow.URL
	}
	return fmt.Sprintf("atoll deploy %s -f PATH%s", f.Application.Name, f.project())
}

func (f Facts) placed(cluster string) bool {
	return slices.ContainsFunc(f.Clusters, func(c Cluster) bool { return c.Cluster == cluster })
}

// age is a duration as kubectl prints it: 42s, 4m, 3h, 2d.
func age(now, then time.Time) string {
	d := max(now.Sub(then), 0)
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	default:
		return fmt.Sprintf("%dd", int(d.Hours()/24))
	}
}
