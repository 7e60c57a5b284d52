// Package assign decides, for one application, what each cluster of the fleet
// should run: it joins the admitted content, the placement and what has left
// it into entries, conditions and the record of chosen clusters. It is pure;
// internal/controllers/application gathers its State and carries out its Plan.
package assign

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/placement"
	"atoll.dev/atoll/internal/report"
	"atoll.dev/atoll/internal/rollout"
)

// State is everything a Plan is made from.
type State struct {
	App *v1alpha1.Application
	// Project is nil when it does not exist.
	Project *v1alpha1.Project
	// Rule is the effective placement; nil when the application has none.
	Rule *placement.Rule
	// RuleErr says why there is no usable rule.
	RuleErr  error
	Clusters []v1alpha1.Cluster
	// Content is what may be delivered: the digest of the present source when
	// it was admitted, else of the last Revision that was.
	Content desired.Digest
	// Contents are what single clusters get of it, when overrides lie over it;
	// who is not in it keeps what it has.
	Contents map[string]desired.Digest
	// Variants list these contents, for the record.
	Variants []v1alpha1.Variant
	// ContentErr says why the present source was not admitted.
	ContentErr error
	// Version is what a cluster is to run while a rollout is under way, nil for
	// what it has. Without a rollout it is nil, and Content goes to all.
	Version func(cluster string) *v1alpha1.Version
	// Pinned is what single clusters are kept at; empty for a pin to nothing
	// that is known, with which a cluster keeps what it has.
	Pinned map[string]Delivery
	// PinnedTo says, when the Content is not the source's but pinned, by whom and
	// why.
	PinnedTo string
	// Cycle is the way by which the application waits for itself; nil without.
	Cycle []string
	// Check returns what the project forbids of an entry. It must always answer
	// the same.
	Check func(e desired.Entry) []report.Problem
	// Released reports whether a cluster confirmed that it let go.
	Released func(cluster string, entry desired.Entry) bool
}

// Plan is the outcome.
type Plan struct {
	Decision placement.Decision
	// Clusters to record as running it: the chosen, and those that are held.
	Clusters []string
	// Entries by cluster; clusters not named run nothing of it.
	Entries map[string]desired.Entry
	// Keep tells that placement cannot be decided now: the record of chosen
	// clusters stays, and each is asked to keep what it has.
	Keep bool
	// Withdrawing are clusters that have not confirmed to have let go.
	Withdrawing []string
	// Variants are the contents of the present revision, with overrides.
	Variants []v1alpha1.Variant
	Accepted Condition
	Placed   Condition
	// Done tells that a deleted application may go.
	Done bool
}

// Condition is a condition without its times.
type Condition struct {
	True    bool
	Reason  string
	Message string
}

// Make computes the Plan.
func Make(s State) Plan {
	if s.Project == nil && s.App.DeletionTimestamp == nil {
		return Plan{Keep: true, Entries: HoldAll(s.App),
			Accepted: Condition{Reason: "ProjectMissing", Message: fmt.Sprintf("no project is named %s; what runs stays as it is until one is", s.App.Namespace)},
			Placed:   Condition{Reason: "ProjectMissing", Message: "placement needs the project"},
		}
	}
	p := Plan{Entries: map[string]desired.Entry{}, Variants: s.Variants}
	if !p.place(s) {
		return p
	}
	p.enter(s)
	p.withdraw(s)
	p.Done = s.App.DeletionTimestamp != nil && len(p.Withdrawing) == 0
	return p
}

// place reports whether the placement could be decided. A rule that cannot be
// read chooses nothing new and drops nothing.
func (p *Plan) place(s State) bool {
	switch {
	case s.App.DeletionTimestamp != nil:
		p.Placed = Condition{Reason: "Deleting", Message: "the application is being deleted"}
		return true
	case s.RuleErr != nil:
		p.Keep, p.Entries = true, HoldAll(s.App)
		p.Accepted = Condition{Reason: "InvalidPlacement", Message: s.RuleErr.Error()}
		p.Placed = Condition{Reason: "InvalidPlacement", Message: s.RuleErr.Error()}
		return false
	case s.Rule == nil:
		p.Placed = Condition{Reason: "NoPlacement", Message: "the application says not where; add spec.placement"}
		p.keepLeaving(s)
		return true
	}
	p.Decision = s.Rule.Decide(s.Project, s.Clusters, s.App.Status.Clusters)
	if p.Decision.Reason == placement.InvalidBounds {
		p.Keep, p.Entries = true, HoldAll(s.App)
		p.Accepted = Condition{Reason: string(p.Decision.Reason), Message: p.Decision.Message}
		p.Placed = p.Accepted
		return false
	}
	p.Clusters = p.Decision.Chosen
	p.Placed = Condition{True: !p.Decision.Empty, Reason: string(p.Decision.Reason), Message: p.Decision.Message}
	p.keepLeaving(s)
	return true
}

// keepLeaving lets clusters go on when too many would delete at once.
func (p *Plan) keepLeaving(s State) {
	byName := clustersByName(s.Clusters)
	held := HeldLeaving(s.App, p.Decision.Chosen, func(c string) bool { return byName[c] != nil })
	if len(held.Clusters) == 0 {
		return
	}
	for _, c := range held.Clusters {
		p.hold(s.App, c)
	}
	p.Clusters = append(slices.Clone(p.Decision.Chosen), held.Clusters...)
	slices.Sort(p.Clusters)
	p.Placed = Condition{Reason: "DeletionHeld", Message: held.Why(s.App.Name)}
}

func (p *Plan) enter(s State) {
	p.Accepted = Condition{True: true, Reason: "Accepted", Message: "the source is admitted"}
	if s.PinnedTo != "" {
		p.Accepted = Condition{True: true, Reason: "Pinned", Message: s.PinnedTo}
	}
	if s.ContentErr != nil {
		p.Accepted = Condition{Reason: "SourceRefused", Message: s.ContentErr.Error()}
		var why interface{ Reason() string }
		if errors.As(s.ContentErr, &why) {
			p.Accepted.Reason = why.Reason()
		}
		if s.Content != "" {
			p.Accepted.Message += "; the last admitted revision stays"
		}
	}
	if p.Accepted.True && len(s.Cycle) > 0 {
		p.Accepted = Condition{Reason: "DependencyCycle", Message: "nothing new is delivered, because these wait for each other: " +
			strings.Join(s.Cycle, " waits for ") + "; take one out of spec.dependsOn"}
	}
	byName := clustersByName(s.Clusters)
	var refused []report.Problem
	var refusedOn []string
	for _, name := range p.Decision.Chosen {
		app, what := s.version(name)
		if what.Content == "" || len(s.Cycle) > 0 {
			p.hold(s.App, name)
			continue
		}
		e := desired.Build(app, s.Project, byName[name], what.Content)
		e.Revision = desired.RevisionName(app.Name, what.Revision)
		if problems := s.Check(e); len(problems) > 0 {
			refused, refusedOn = problems, append(refusedOn, name)
			p.hold(s.App, name)
			continue
		}
		p.Entries[name] = e
	}
	if len(refused) > 0 {
		p.Accepted = Condition{Reason: "PolicyRefused", Message: refusal(s.Project.Name, refused, refusedOn)}
	}
}

// version is the application as a cluster is to run it, and its content; empty
// when that is not known or its turn is yet to come.
func (s State) version(cluster string) (*v1alpha1.Application, Delivery) {
	if what, pinned := s.Pinned[cluster]; pinned {
		return s.App, what
	}
	if s.Version == nil {
		return s.App, s.delivery(cluster)
	}
	v := s.Version(cluster)
	if v == nil {
		return s.App, Delivery{}
	}
	return rollout.With(s.App, *v), Delivery{Revision: desired.Digest(v.Digest), Content: desired.Digest(rollout.ContentOf(*v))}
}

// hold lets a cluster go on with what ran before a refused change.
func (p *Plan) hold(app *v1alpha1.Application, cluster string) {
	if slices.Contains(app.Status.Clusters, cluster) || slices.Contains(app.Status.Withdrawing, cluster) {
		p.Entries[cluster] = desired.Hold(app)
	}
}

// HoldAll asks every cluster that is recorded to go on with what it has, what
// it was asked to let go of included: what is wanted cannot be told now.
func HoldAll(app *v1alpha1.Application) map[string]desired.Entry {
	entries := map[string]desired.Entry{}
	for _, cluster := range slices.Concat(app.Status.Clusters, app.Status.Withdrawing) {
		entries[cluster] = desired.Hold(app)
	}
	return entries
}

func refusal(project string, problems []report.Problem, clusters []string) string {
	first := problems[0]
	text := fmt.Sprintf("project %s may not deliver %s: %s", project, first.Object, first.Message)
	if more := len(problems) - 1; more > 0 {
		text += fmt.Sprintf(" (and %d more)", more)
	}
	return text + "; refused for " + listed(clusters)
}

// withdraw keeps an entry for clusters that left and must delete. With Orphan
// there is nothing to wait for: an entry that vanishes is let go untouched.
func (p *Plan) withdraw(s State) {
	if s.App.Spec.OnDelete != v1alpha1.Delete || s.Project == nil {
		return
	}
	byName := clustersByName(s.Clusters)
	left := append(slices.Clone(s.App.Status.Clusters), s.App.Status.Withdrawing...)
	slices.Sort(left)
	for _, name := range slices.Compact(left) {
		cluster := byName[name]
		if cluster == nil || slices.Contains(p.Clusters, name) {
			continue
		}
		e := desired.Withdraw(desired.Build(s.App, s.Project, cluster, s.delivery(name).Content))
		if s.Released(name, e) {
			continue
		}
		p.Entries[name] = e
		p.Withdrawing = append(p.Withdrawing, name)
	}
}

func clustersByName(clusters []v1alpha1.Cluster) map[string]*v1alpha1.Cluster {
	m := make(map[string]*v1alpha1.Cluster, len(clusters))
	for i := range clusters {
		m[clusters[i].Name] = &clusters[i]
	}
	return m
}

func listed(names []string) string {
	const most = 5
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}
