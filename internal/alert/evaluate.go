package alert

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/certificates"
	"atoll.dev/atoll/internal/observed"
)

// State is what a hub knows.
type State struct {
	// Version is the hub's own.
	Version      string
	Clusters     []v1alpha1.Cluster
	Applications []v1alpha1.Application
	// Members are what is known of an application on each of its clusters; it is asked
	// for those alone that are not well.
	Members func(*v1alpha1.Application) []observed.Member
	// Certificates are the hub's own and those of agents.
	Certificates []certificates.Certificate
}

// apart is how many subjects of one rule get an alert each.
const apart = 25

// Evaluate tells what holds at now, worst first.
func Evaluate(s State, now time.Time) []Alert {
	e := &evaluation{now: now, found: map[string][]Alert{}, seen: map[string]bool{}}
	e.clusters(s)
	e.certificates(s.Certificates)
	for i := range s.Applications {
		e.application(&s.Applications[i], s.Members)
	}
	var all []Alert
	for _, r := range Rules {
		all = append(all, bounded(r, e.found[r.Name])...)
	}
	slices.SortFunc(all, compare)
	return all
}

// evaluation gathers by rule.
type evaluation struct {
	now   time.Time
	found map[string][]Alert
	seen  map[string]bool // by ID
}

// lasted tells that a state is as old as a rule asks for; one of unknown age is.
func (e *evaluation) lasted(rule string, since time.Time) bool {
	return since.IsZero() || !e.now.Before(since.Add(ruleOf(rule).For))
}

// fire adds an alert if its state has lasted. Deletions of an application may be held
// for clusters that leave and on clusters that stay: that is one decision.
func (e *evaluation) fire(rule string, a Alert) {
	if !e.lasted(rule, a.Since) {
		return
	}
	a.Name, a.Severity = rule, ruleOf(rule).Severity
	a.Count, a.Summary = max(a.Count, 1), clip(a.Summary)
	if !a.Since.IsZero() {
		a.Since = a.Since.UTC()
	}
	if id := a.ID(); !e.seen[id] {
		e.seen[id] = true
		e.found[rule] = append(e.found[rule], a)
	}
}

// bounded keeps the oldest apart and sums up the rest, so that nothing that comes
// later takes an alert away that somebody has been told of.
func bounded(r Rule, all []Alert) []Alert {
	slices.SortFunc(all, compare)
	if len(all) <= apart {
		return all
	}
	rest := Alert{Name: r.Name, Severity: r.Severity, Since: all[apart].Since, Do: "atoll status"}
	for _, a := range all[apart:] {
		rest.Count++
		if len(rest.Named) < MaxNamed {
			rest.Named = append(rest.Named, a.Subject())
		}
	}
	rest.Summary = clip(fmt.Sprintf("%s; beside those named apart, of %d more: %s", r.Meaning, rest.Count, some(rest.Named, rest.Count)))
	return append(all[:apart:apart], rest)
}

// some is "a, b and 3 more".
func some(named []string, all int) string {
	text := strings.Join(named, ", ")
	if rest := all - len(named); rest > 0 {
		text += fmt.Sprintf(" and %d more", rest)
	}
	return text
}
