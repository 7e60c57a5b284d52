package recovery

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"atoll.dev/atoll/internal/desired"
)

// Origin is what is told as the source of recovered content.
const Origin = "recovered from the agents"

// Make joins what the agents remember. Where clusters disagree nothing is made,
// unless one of them is preferred: what is right nobody but a person can know.
func Make(memories []Memory, known Known, prefer string) Plan {
	p := planner{known: known, prefer: prefer}
	byKey, byProject := map[desired.Key][]claim{}, map[string][]claim{}
	for _, m := range memories {
		for _, r := range m.Applications {
			c := claim{cluster: m.Cluster, Running: r}
			byKey[r.Key] = append(byKey[r.Key], c)
			if !r.Withdrawn {
				byProject[r.Key.Project] = append(byProject[r.Key.Project], c)
			}
		}
	}
	var plan Plan
	for _, name := range slices.Sorted(maps.Keys(byProject)) {
		plan.Projects = append(plan.Projects, p.project(name, byProject[name]))
	}
	for _, key := range slices.SortedFunc(maps.Keys(byKey), desired.Key.Compare) {
		claims := byKey[key]
		slices.SortFunc(claims, func(a, b claim) int { return strings.Compare(a.cluster, b.cluster) })
		plan.Applications = append(plan.Applications, p.application(key, claims))
	}
	for i := range plan.Applications {
		plan.Applications[i].needs(plan.Projects)
	}
	return plan
}

// claim is what one agent says of one application.
type claim struct {
	cluster string
	Running
}

type planner struct {
	known  Known
	prefer string
}

// needs takes back an application whose project cannot be made.
func (a *Application) needs(projects []Project) {
	for i := range projects {
		if projects[i].Name == a.Key.Project && len(projects[i].Problems) > 0 && a.Object != nil {
			a.Object = nil
			a.Problems = append(a.Problems, "project "+a.Key.Project+" is not clear: see there")
		}
	}
}

// chosen is the one claim that counts of several that say different things, by
// what each says; differ names who says what when there is no such.
func chosen(claims []claim, says func(claim) string, prefer string) (one claim, differ []string) {
	groups := map[string][]string{}
	for _, c := range claims {
		said := says(c)
		if !slices.Contains(groups[said], c.cluster) {
			groups[said] = append(groups[said], c.cluster)
		}
		if c.cluster == prefer {
			one = c
		}
	}
	if len(groups) == 1 {
		return claims[0], nil
	}
	if one.cluster != "" && countOf(groups, prefer) == 1 {
		return one, nil
	}
	for _, said := range slices.Sorted(maps.Keys(groups)) {
		slices.Sort(groups[said])
		differ = append(differ, fmt.Sprintf("%s: %s", shortList(groups[said]), said))
	}
	return claim{}, differ
}

// countOf is how many different things a cluster says.
func countOf(groups map[string][]string, cluster string) int {
	n := 0
	for _, clusters := range groups {
		if slices.Contains(clusters, cluster) {
			n++
		}
	}
	return n
}

// maxNamed is how many clusters a sentence names.
const maxNamed = 5

func shortList(names []string) string {
	if len(names) <= maxNamed {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:maxNamed], ", "), len(names)-maxNamed)
}
